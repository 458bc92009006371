package janitor_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// undeletableAWS is AWS with a target group of this ledger that no lease accounts for.
// Deleting anything fails the test.
type undeletableAWS struct {
	janitor.AWS
	t *testing.T
}

const orphan = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/pl-x/1"

func (o undeletableAWS) TargetGroups(context.Context) ([]elb.TargetGroup, error) {
	return []elb.TargetGroup{{ARN: orphan, Name: elb.TargetGroupPrefix + "x"}, {ARN: "group-1"}}, nil
}

func (o undeletableAWS) Tags(_ context.Context, arns ...string) (map[string]map[string]string, error) {
	tags := make(map[string]map[string]string)
	for _, arn := range arns {
		t := elb.Tags{Ledger: ledgerID, Namespace: "games", Pod: "game-0", PodUID: "u0", Lease: "lb-1", Epoch: "e", Generation: 1}
		if arn == "group-1" {
			t.Lease, t.Generation = fence.Lease, fence.Generation
		}
		tags[arn] = t.Map()
	}
	return tags, nil
}

func (o undeletableAWS) DeleteTargetGroup(_ context.Context, arn string) error {
	o.t.Errorf("%s was deleted", arn)
	return nil
}

func (o undeletableAWS) DeregisterTargets(_ context.Context, arn string, _ []elb.Target) error {
	o.t.Errorf("targets of %s were deregistered", arn)
	return nil
}

func (o undeletableAWS) Targets(context.Context, string) ([]elb.Target, error) { return nil, nil }

// unwritable is a table that fails the test when it is written.
type unwritable[T any] struct {
	ledger.Table[T]
	t *testing.T
}

func (w unwritable[T]) Create(_ context.Context, name string, _ T) (r ledger.Record[T], err error) {
	w.t.Errorf("%s was created", name)
	return r, ledger.ErrConflict
}

func (w unwritable[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	w.t.Errorf("%s was changed", r.Name)
	return r, nil
}

func (w unwritable[T]) Delete(_ context.Context, r ledger.Record[T]) error {
	w.t.Errorf("%s was deleted", r.Name)
	return nil
}

// skippedActions is a log handler that collects the actions a dry run skipped.
type skippedActions struct {
	slog.Handler
	what *[]string
}

func (t skippedActions) Enabled(context.Context, slog.Level) bool { return true }

func (t skippedActions) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "skipped: this is a dry run" {
			*t.what = append(*t.what, a.Value.String())
		}
		return true
	})
	return nil
}

// There is one of everything: an expired claim, a released claim, a port to release, one to
// unbind, one whose cooldown is over, and an orphan.
func TestDryRunLogsEveryActionAndChangesNothing(t *testing.T) {
	expired, over := claimIn(ledger.Granted, fence), claimIn(ledger.ClaimReleasing)
	expired.Value.Namespace, expired.Value.Pod = "games", "game-1"
	over.Name = "claim-2"
	released := claimIn(ledger.ClaimReleasing, fence)
	released.Name = "claim-3"
	held, releasing, cooling := portIn(ledger.Bound, ""), portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Cooldown, "")
	held.Name, held.Value.Holder, held.Value.TargetGroupARN = "lb-30003", "claim-3", "group-3"
	releasing.Value.TargetGroupARN = "group-1"
	cooling.Name = "lb-30002"
	released.Value.Ports[0].Fence.Lease = held.Name
	claims := staleTable(expired, over, released)
	ports := currentTable(held, releasing, cooling)
	w := newTestObserver()
	var logged []string
	c := newConfig(w, unwritable[ledger.Claim]{claims, t}, unwritable[ledger.Port]{ports, t})
	c.AWS, c.GetPod, c.DryRun = undeletableAWS{nil, t}, noPod, true
	c.Log = slog.New(skippedActions{slog.DiscardHandler, &logged})
	c.ReserveDeletions = func(context.Context, string, int) (int, time.Duration, error) {
		t.Error("calls were reserved")
		return 1, 0, nil
	}
	c.Prepaid = func(ctx context.Context, _ int) context.Context {
		t.Error("a Describe call counted as reserved")
		return ctx
	}
	c.Warn = func(context.Context, string, string, string, string, string) error {
		t.Error("an event was created")
		return nil
	}
	c.Count = func(action, _ string) {
		if action != "skip" {
			t.Errorf("counted %q", action)
		}
	}
	j := janitor.New(c)
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	run := func() {
		t.Helper()
		for range 3 { // an orphan needs three sightings
			w.now = w.now.Add(time.Minute)
			if err := errors.Join(j.Sweep(t.Context()), j.UnbindReleasing(t.Context()), j.Audit(t.Context())); err != nil {
				t.Error(err)
			}
		}
	}
	run()
	const not = ": not done: this is a dry run"
	want := []string{
		"reclaiming claim-1 of games/game-1 (pod gone and claim expired)" + not,
		"deleting claim-2 (claim released)" + not,
		"beginning to release lb-30003 (claim released)" + not,
		"deregistering the targets of lb-30000" + not,
		"unbinding lb-30000" + not,
		"ending the cooldown of lb-30002" + not,
		"deleting orphan " + orphan + " (no port lease)" + not,
	}
	for _, one := range want {
		if n := strings.Count(strings.Join(logged, "\n"), one); n != 1 {
			t.Errorf("%q was logged %d times", one, n)
		}
	}
	before := logged
	run()
	if diff := cmp.Diff(before, logged); diff != "" {
		t.Errorf("logged again (-first +second):\n%s", diff)
	}
}

func TestDryRunReturnsOtherErrors(t *testing.T) {
	broken := errors.New("no answer")
	w := newTestObserver()
	expired := claimIn(ledger.Granted, fence)
	claims, ports := staleTable(expired), currentTable(portIn(ledger.Cooldown, ""))
	c := newConfig(w, claims, ports)
	c.GetPod = func(context.Context, string, string) (*ledger.Pod, error) { return nil, broken }
	c.DryRun = true
	j := janitor.New(c)
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	if err := j.Sweep(t.Context()); !errors.Is(err, broken) || strings.Contains(err.Error(), "dry run") {
		t.Errorf("got %v, want only that there was no answer", err)
	}
}

// countingAWS counts the reads of tags.
type countingAWS struct {
	undeletableAWS
	reads *int
}

func (c countingAWS) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	*c.reads++
	return c.undeletableAWS.Tags(ctx, arns...)
}

// Not every sweep tries to unbind, or reads the pod of an expired claim. Ports that are
// never unbound must not use up the Describe calls.
func TestDryRunLogsRareActionsOnce(t *testing.T) {
	expired, releasing := claimIn(ledger.Granted, fence), portIn(ledger.Releasing, ledger.AgentAbsent)
	expired.Value.Namespace, expired.Value.Pod = "games", "game-1"
	releasing.Value.TargetGroupARN = "group-1"
	claims, ports := staleTable(expired), currentTable(releasing)
	w := newTestObserver()
	var logged []string
	reads := 0
	c := newConfig(w, claims, ports)
	c.AWS, c.GetPod, c.DryRun = countingAWS{undeletableAWS{nil, t}, &reads}, noPod, true
	c.Log = slog.New(skippedActions{slog.DiscardHandler, &logged})
	j := janitor.New(c)
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	const sweepEvery, hours = 2 * time.Second, 3
	for range hours * time.Hour / sweepEvery {
		w.now = w.now.Add(sweepEvery)
		if err := errors.Join(j.Sweep(t.Context()), j.UnbindReleasing(t.Context())); err != nil {
			t.Error(err)
		}
	}
	for _, one := range []string{"reclaiming claim-1", "deregistering the targets of lb-30000", "unbinding lb-30000"} {
		if n := strings.Count(strings.Join(logged, "\n"), one); n != 1 {
			t.Errorf("%q was logged %d times", one, n)
		}
	}
	if reads > 2*(hours+1) {
		t.Errorf("it read the tags of one port %d times in %d hours", reads, hours)
	}
}
