package reporter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
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

func TestPodIsWrittenOnOnlyWhenSomethingChanged(t *testing.T) {
	w := new(world)
	r := w.reporter()
	for range 2 {
		r.Annotate(t.Context(), api.Claim{})
		r.SetCondition(t.Context(), reachable)
	}
	w.check(t, "twice the same", "announce", "condition")
	if err := r.Announce(t.Context(), api.Claim{}); err != nil {
		t.Fatal(err)
	}
	r.Annotate(t.Context(), api.Claim{})
	r.SetCondition(t.Context(), pod.Condition{Reason: "GameNotReady"})
	w.check(t, "something new", "announce", "condition")
}

func TestFailedWritesAreRepeated(t *testing.T) {
	w := &world{refuse: errors.New("the API server is down")}
	r := w.reporter()
	for range 2 {
		r.Annotate(t.Context(), api.Claim{})
		r.SetCondition(t.Context(), reachable)
	}
	w.check(t, "while it is down", "announce", "condition", "announce", "condition")
}

func TestWithdrawSetsTheConditionUnlessItIsKnownFalse(t *testing.T) {
	withdrawn := pod.Condition{Reason: "Withdrawn"}
	for name, c := range map[string]struct {
		before func(context.Context, *world, *reporter.Reporter)
		sets   bool
	}{
		"set by an earlier agent": {func(context.Context, *world, *reporter.Reporter) {}, true},
		"true":                    {func(ctx context.Context, _ *world, r *reporter.Reporter) { r.SetCondition(ctx, reachable) }, true},
		"false": {func(ctx context.Context, _ *world, r *reporter.Reporter) {
			r.SetCondition(ctx, pod.Condition{Reason: "GameNotReady"})
		}, false},
		"perhaps true": {func(ctx context.Context, w *world, r *reporter.Reporter) {
			w.refuse = errors.New("the answer was lost")
			r.SetCondition(ctx, reachable)
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

func TestFailuresAreOneEventPerClassInARow(t *testing.T) {
	transient, invalid := fmt.Errorf("claiming: %w", failure.ErrUnreachable), api.Errorf(api.Invalid, "no such pool")
	for name, c := range map[string]struct {
		errors []error // nil: the phase succeeds and goes on
		events []string
	}{
		"transient for a moment":      {[]error{transient, transient}, nil},
		"transient and persistent":    {[]error{transient, transient, transient, transient, transient}, []string{"event AllocatorUnreachable"}},
		"an admin has to act":         {[]error{invalid, invalid, invalid}, []string{"event ClaimInvalid"}},
		"the pool is exhausted":       {[]error{api.ErrExhausted, api.ErrExhausted}, []string{"event PoolExhausted"}},
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
