package reporter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/shared/api"
)

// world records what a reporter reports.
type world struct {
	calls     []string
	condition pod.Condition
	refuse    error
}

func (w *world) call(name string) error {
	w.calls = append(w.calls, name)
	return w.refuse
}

func (w *world) Announce(context.Context, api.Claim) error { return w.call("announce") }

func (w *world) Withdraw(context.Context) error { return w.call("withdraw") }

func (w *world) SetReachable(_ context.Context, c pod.Condition) error {
	if w.refuse == nil {
		w.condition = c
	}
	return w.call("condition")
}

func (w *world) Record(_ context.Context, _ pod.EventType, reason, _ string) error {
	return w.call("event " + reason)
}

func (w *world) reporter() *reporter.Reporter {
	return reporter.New(reporter.Config{
		Files: reporter.Announcers{}, Pod: w, Events: w,
		Clock:    clock.Clock{Now: time.Now, Timeout: context.WithTimeout},
		Failures: failure.Log{Metrics: metrics.NewSet(), Logger: slog.New(slog.DiscardHandler)}, Log: slog.New(slog.DiscardHandler),
	})
}

func (w *world) check(t *testing.T, what string, want ...string) {
	t.Helper()
	if !slices.Equal(w.calls, want) {
		t.Errorf("%s: calls are %v, want %v", what, w.calls, want)
	}
	w.calls = nil
}

var reachable = pod.Condition{Reachable: true, Reason: "TargetHealthy"}

var claimed = api.Claim{UID: "claim-1"}

// says makes a reporter catch up with a condition.
func says(ctx context.Context, r *reporter.Reporter, c pod.Condition) {
	r.CatchUp(ctx, func() pod.Condition { return c })
}

func announceClaim(t *testing.T, r *reporter.Reporter) {
	t.Helper()
	if err := r.Announce(t.Context(), claimed); err != nil {
		t.Fatal(err)
	}
}

func TestPodIsWrittenOnOnlyWhenSomethingChanged(t *testing.T) {
	w := new(world)
	r := w.reporter()
	announceClaim(t, r)
	for range 2 {
		says(t.Context(), r, reachable)
	}
	w.check(t, "twice the same", "announce", "condition")
	announceClaim(t, r)
	says(t.Context(), r, pod.Condition{Reason: "GameNotReady"})
	w.check(t, "something new", "announce", "condition")
}

func TestConditionIsRewordedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		r := w.reporter()
		for n := range 600 { // seconds
			says(t.Context(), r, pod.Condition{Reason: "PoolExhausted", Message: fmt.Sprint(n)})
			time.Sleep(time.Second)
		}
		if n := len(w.calls); n != 5 {
			t.Errorf("the condition was set %d times in ten minutes, want 5", n)
		}
		w.calls = nil
		says(t.Context(), r, pod.Condition{Reason: "WaitingForBudget"})
		w.check(t, "another reason", "condition")
	})
}

func TestFailedWritesAreRepeatedUntilTheySucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{refuse: errors.New("the API server is down")}
		r := w.reporter()
		announceClaim(t, r)
		for range 600 { // seconds
			says(t.Context(), r, reachable)
			time.Sleep(time.Second)
		}
		if n := len(w.calls); n < 20 || n > 40 {
			t.Errorf("%d writes in ten minutes", n)
		}
		w.refuse, w.calls = nil, nil
		for range 60 {
			says(t.Context(), r, reachable)
			time.Sleep(time.Second)
		}
		w.check(t, "once it is back", "announce", "condition")
		w.refuse = errors.New("the API server is down")
		r.Withdraw(t.Context(), pod.Condition{Reason: "Withdrawn"})
		if r.Withdrawn(t.Context()) {
			t.Error("the annotations could not be removed")
		}
		w.refuse, w.calls = nil, nil
		time.Sleep(time.Minute)
		says(t.Context(), r, pod.Condition{Reason: "Withdrawn"})
		w.check(t, "a failed withdrawal", "withdraw", "condition")
		if w.calls = nil; !r.Withdrawn(t.Context()) || len(w.calls) > 0 {
			t.Errorf("the annotations are removed already, and it calls %v", w.calls)
		}
	})
}

func TestWithdrawSetsTheConditionUnlessItIsKnownFalse(t *testing.T) {
	withdrawn := pod.Condition{Reason: "Withdrawn"}
	for name, c := range map[string]struct {
		before func(context.Context, *world, *reporter.Reporter)
		sets   bool
	}{
		"set by an earlier agent": {func(context.Context, *world, *reporter.Reporter) {}, true},
		"true":                    {func(ctx context.Context, _ *world, r *reporter.Reporter) { says(ctx, r, reachable) }, true},
		"false": {func(ctx context.Context, _ *world, r *reporter.Reporter) {
			says(ctx, r, pod.Condition{Reason: "GameNotReady"})
		}, false},
		"perhaps true": {func(ctx context.Context, w *world, r *reporter.Reporter) {
			w.refuse = errors.New("the answer was lost")
			says(ctx, r, reachable)
			w.refuse = nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := new(world)
			r := w.reporter()
			c.before(t.Context(), w, r)
			w.calls = nil
			ended, end := context.WithCancel(t.Context())
			end()
			r.Withdraw(ended, withdrawn)
			want := []string{"withdraw"}
			if c.sets {
				want = append(want, "condition")
			}
			w.check(t, "withdrawing", want...)
			if c.sets && w.condition != withdrawn {
				t.Errorf("the condition is %+v", w.condition)
			}
		})
	}
}

// The API server forgets an event after an hour.
func TestLastingFailureIsToldAtLeastTwiceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		failures := w.reporter().NewFailures()
		for range 24 * 60 {
			failures.Report(t.Context(), "failed to claim ports; retrying", api.ErrInvalid)
			time.Sleep(time.Minute)
		}
		if n := len(w.calls); n < 48 || n > 60 {
			t.Errorf("told %d times a day", n)
		}
	})
}

func TestConditionSaysNothingThatChangesWithEachAttempt(t *testing.T) {
	failures := new(world).reporter().NewFailures()
	for range 2 {
		for attempt, err := range []error{
			fmt.Errorf("claiming (request 1): %w", api.Errorf(api.Invalid, "no such pool")),
			fmt.Errorf("claiming (request 2): %w", api.Errorf(api.Invalid, "no such pool")),
		} {
			if reason, text := failures.Report(t.Context(), "failed to claim ports; retrying", err); reason != "ClaimInvalid" || text != "no such pool" {
				t.Errorf("attempt %d: %s, %q", attempt, reason, text)
			}
		}
	}
	transient := fmt.Errorf("claiming (request 3): %w: connection refused", failure.ErrUnreachable)
	for attempt, want := range []string{"", "", "AllocatorUnreachable"} {
		if reason, text := failures.Report(t.Context(), "failed to claim ports; retrying", transient); reason != want || strings.Contains(text, "request") {
			t.Errorf("attempt %d: %s, %q", attempt, reason, text)
		}
	}
}

func TestFailuresAreToldOnceTheyLastAndThenEverMoreRarely(t *testing.T) {
	transient, invalid := fmt.Errorf("claiming: %w", failure.ErrUnreachable), api.Errorf(api.Invalid, "no such pool")
	for name, c := range map[string]struct {
		errors []error // nil: the phase succeeds and goes on
		events []string
	}{
		"transient for a moment":      {[]error{transient, transient}, nil},
		"transient and persistent":    {slices.Repeat([]error{transient}, 12), slices.Repeat([]string{"event AllocatorUnreachable"}, 3)},
		"an admin has to act":         {slices.Repeat([]error{invalid}, 8), slices.Repeat([]string{"event ClaimInvalid"}, 4)},
		"the pool is exhausted":       {slices.Repeat([]error{api.ErrExhausted}, 127), slices.Repeat([]string{"event PoolExhausted"}, 7)},
		"over the quota":              {[]error{api.ErrQuota}, []string{"event QuotaExceeded"}},
		"interrupted by another":      {[]error{transient, transient, invalid, transient, transient}, []string{"event ClaimInvalid"}},
		"again after it was resolved": {[]error{invalid, nil, invalid}, []string{"event ClaimInvalid", "event ClaimInvalid"}},
		"of no known class":           {[]error{errors.ErrUnsupported, errors.ErrUnsupported, errors.ErrUnsupported}, []string{"event Failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := new(world)
			failures := w.reporter().NewFailures()
			for _, err := range c.errors {
				if err == nil {
					failures.Reset()
					continue
				}
				failures.Report(t.Context(), "failed to claim ports; retrying", err)
			}
			w.check(t, "failures", c.events...)
		})
	}
}
