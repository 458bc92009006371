package janitor_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
)

// late is a table whose view has what is gone already: every write loses, until
// a read shows the truth.
type late[T any] struct{ view []ledger.Record[T] }

func (l *late[T]) CachedAll() []ledger.Record[T] { return slices.Clone(l.view) }

func (l *late[T]) Cached(name string) (ledger.Record[T], bool) {
	i := slices.IndexFunc(l.view, func(r ledger.Record[T]) bool { return r.Name == name })
	if i < 0 {
		return ledger.Record[T]{}, false
	}
	return l.view[i], true
}

func (l *late[T]) Get(_ context.Context, name string) (ledger.Record[T], error) {
	l.view = slices.DeleteFunc(l.view, func(r ledger.Record[T]) bool { return r.Name == name })
	return ledger.Record[T]{}, ledger.ErrAbsent
}

func (l *late[T]) Create(context.Context, string, T) (ledger.Record[T], error) {
	return ledger.Record[T]{}, ledger.ErrConflict
}

func (l *late[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	return r, ledger.ErrConflict
}

func (l *late[T]) Delete(context.Context, ledger.Record[T]) error { return ledger.ErrConflict }

type lateClaims struct{ *late[ledger.Claim] }

func (lateClaims) OfPodIP(context.Context, string, string) ([]ledger.Record[ledger.Claim], error) {
	return nil, nil
}

// TestASweepDoesNotChaseWhatIsGone has a view with records that were deleted
// while the watch was broken: an expired claim, a port to open, a port to let go.
func TestASweepDoesNotChaseWhatIsGone(t *testing.T) {
	expired, ends, over := claimIn(ledger.Granted), claimIn(ledger.ClaimReleasing, fence), portIn(ledger.Cooldown, "")
	ends.Name, over.Name = "claim-2", "lb-30001"
	held := portIn(ledger.Bound, "")
	held.Value.Holder = "claim-2"
	claims, ports := &late[ledger.Claim]{[]claimRecord{expired, ends}}, &late[ledger.Port]{[]portRecord{over, held}}
	w := newWatch()
	j := janitor.New(janitor.Config{
		Claims: lateClaims{claims}, Ports: ports, Observer: w.Observer, Timing: timing,
		GetPod: func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }, //nolint:nilnil // no pod is an answer
		Count:  func(action, _ string) { t.Errorf("counted %q", action) },
		Now:    func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	if err := j.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	// claim-2 still had a port at the time of the plan.
	if len(ports.view) != 0 || len(claims.view) != 1 || claims.view[0].Name != "claim-2" {
		t.Errorf("left in view: %+v, %+v", claims.view, ports.view)
	}
	if err := j.Sweep(t.Context()); err != nil || len(claims.view) != 0 {
		t.Errorf("left in view: %+v, %v", claims.view, err)
	}
}

// TestASweepAsksASpentBudgetOnce, however many ports wait, and says that it should
// be repeated soon.
func TestASweepAsksASpentBudgetOnce(t *testing.T) {
	one, two, done := portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Cooldown, "")
	two.Name, done.Name = "lb-30001", "lb-30002"
	ports := &still{late[ledger.Port]{[]portRecord{one, two, done}}}
	w := newWatch()
	asked := 0
	j := janitor.New(janitor.Config{
		Claims: lateClaims{&late[ledger.Claim]{}}, Ports: ports, Observer: w.Observer, Timing: timing,
		ReserveUnbind: func(context.Context, string) (bool, error) { asked++; return false, nil },
		Count:         func(action, _ string) { t.Errorf("counted %q", action) },
		Now:           func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
	for n := range 2 {
		if err := j.Sweep(t.Context()); err != nil || !j.Hungry() || asked != n+1 {
			t.Errorf("sweep %d: %v, hungry %v, asked %d times", n, err, j.Hungry(), asked)
		}
	}
	ports.view = nil
	if err := j.Sweep(t.Context()); err != nil || j.Hungry() {
		t.Errorf("with nothing to unbind: %v, hungry %v", err, j.Hungry())
	}
}

// still is a table whose view is true.
type still struct{ late[ledger.Port] }

func (s *still) Get(_ context.Context, name string) (ledger.Record[ledger.Port], error) {
	r, exists := s.Cached(name)
	if !exists {
		return r, ledger.ErrAbsent
	}
	return r, nil
}
