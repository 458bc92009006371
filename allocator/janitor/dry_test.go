package janitor_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// orphaned is AWS with a target group of this ledger that no lease accounts for.
// Deleting anything fails the test.
type orphaned struct {
	janitor.AWS
	t *testing.T
}

const orphan = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/pl-x/1"

func (o orphaned) TargetGroups(context.Context) ([]elb.TargetGroup, error) {
	return []elb.TargetGroup{{ARN: orphan, Name: elb.TargetGroupPrefix + "x"}, {ARN: "group-1"}}, nil
}

func (o orphaned) Tags(_ context.Context, arns ...string) (map[string]map[string]string, error) {
	tags := make(map[string]map[string]string)
	for _, arn := range arns {
		t := elb.Tags{Ledger: "l", Namespace: "games", Pod: "game-0", PodUID: "u0", Lease: "lb-1", Epoch: "e", Generation: 1}
		if arn == "group-1" {
			t.Lease, t.Generation = fence.Lease, fence.Generation
		}
		tags[arn] = t.Map()
	}
	return tags, nil
}

func (o orphaned) DeleteTargetGroup(_ context.Context, arn string) error {
	o.t.Errorf("%s was deleted", arn)
	return nil
}

func (o orphaned) Targets(context.Context, string) ([]elb.Target, error) { return nil, nil }

// watched is a table that fails the test when it is written.
type watched[T any] struct {
	ledger.Table[T]
	t *testing.T
}

func (w watched[T]) Create(_ context.Context, name string, _ T) (r ledger.Record[T], err error) {
	w.t.Errorf("%s was created", name)
	return r, ledger.ErrConflict
}

func (w watched[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	w.t.Errorf("%s was changed", r.Name)
	return r, nil
}

func (w watched[T]) Delete(_ context.Context, r ledger.Record[T]) error {
	w.t.Errorf("%s was deleted", r.Name)
	return nil
}

// told collects what a logger was told.
type told struct {
	slog.Handler
	what *[]string
}

func (t told) Enabled(context.Context, slog.Level) bool { return true }

func (t told) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "withheld" {
			*t.what = append(*t.what, a.Value.String())
		}
		return true
	})
	return nil
}

// TestADryRunSaysAndDoesNothing has one of everything that a janitor does: a claim
// to reclaim, one to forget, a port to let go, to unbind and to open, an orphan.
func TestADryRunSaysAndDoesNothing(t *testing.T) {
	expired, over := claimIn(ledger.Granted, fence), claimIn(ledger.ClaimReleasing)
	expired.Value.Namespace, expired.Value.Pod = "games", "game-1"
	over.Name = "claim-2"
	ending := claimIn(ledger.ClaimReleasing, fence)
	ending.Name = "claim-3"
	held, leaving, cool := portIn(ledger.Bound, ""), portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Cooldown, "")
	held.Name, held.Value.Holder, held.Value.TargetGroupARN = "lb-30003", "claim-3", "group-3"
	leaving.Value.TargetGroupARN = "group-1"
	cool.Name = "lb-30002"
	ending.Value.Ports[0].Fence.Lease = held.Name
	claims := &late[ledger.Claim]{[]claimRecord{expired, over, ending}}
	ports := &still{late[ledger.Port]{[]portRecord{held, leaving, cool}}}
	w := newWatch()
	var said []string
	log := slog.New(told{slog.DiscardHandler, &said})
	j := janitor.New(janitor.Config{
		Ledger: "l", Claims: watched[ledger.Claim]{claims, t}, Ports: watched[ledger.Port]{ports, t},
		AWS: orphaned{nil, t}, Listings: bare{}, Observer: w.Observer, Timing: timing,
		ReserveUnbind: func(context.Context, string) (bool, error) { t.Error("it was paid for"); return true, nil },
		Prepaid:       func(ctx context.Context) context.Context { t.Error("a look counted as paid for"); return ctx },
		GetPod:        func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }, //nolint:nilnil // no pod is an answer
		Warn: func(context.Context, string, string, string, string, string) error {
			t.Error("an event was written")
			return nil
		},
		Count: func(action, _ string) {
			if action != "withhold" {
				t.Errorf("counted %q", action)
			}
		},
		Now: func() time.Time { return w.now }, Log: log, DryRun: true,
	})
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	all := func() {
		t.Helper()
		for range 3 { // an orphan needs three sightings
			w.now = w.now.Add(time.Minute)
			if err := errors.Join(j.Sweep(t.Context()), j.Audit(t.Context())); err != nil {
				t.Error(err)
			}
		}
	}
	all()
	const not = ": not done: this is a dry run"
	want := []string{
		"reclaiming claim-1 of games/game-1 (pod gone and claim expired)" + not,
		"forgetting claim-2 (claim released)" + not,
		"letting go of lb-30003 (its claim ends)" + not,
		"unbinding lb-30000 (released)" + not,
		"opening lb-30002 (cooldown over)" + not,
		"deleting orphan " + orphan + " (no port lease of that name)" + not,
	}
	for _, one := range want {
		if n := strings.Count(strings.Join(said, "\n"), one); n != 1 {
			t.Errorf("%q was said %d times", one, n)
		}
	}
	before := said
	all()
	if !reflect.DeepEqual(said, before) {
		t.Errorf("it repeats itself: %q", said[len(before):])
	}
}

// TestADryRunKeepsErrors that are none of its own.
func TestADryRunKeepsErrors(t *testing.T) {
	broken := errors.New("no answer")
	w := newWatch()
	expired := claimIn(ledger.Granted, fence)
	claims, ports := &late[ledger.Claim]{[]claimRecord{expired}}, &still{late[ledger.Port]{[]portRecord{portIn(ledger.Cooldown, "")}}}
	j := janitor.New(janitor.Config{
		Claims: claims, Ports: ports, AWS: bare{}, Listings: bare{}, Observer: w.Observer, Timing: timing,
		GetPod: func(context.Context, string, string) (*ledger.Pod, error) { return nil, broken },
		Count:  func(string, string) {}, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler), DryRun: true,
	})
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	if err := j.Sweep(t.Context()); !errors.Is(err, broken) || strings.Contains(err.Error(), "dry run") {
		t.Errorf("got %v, want only that there was no answer", err)
	}
}
