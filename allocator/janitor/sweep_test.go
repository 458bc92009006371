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

// stale is a table whose cache has records that are gone. Every write conflicts. A read
// removes the record from the cache.
type stale[T any] struct{ cache []ledger.Record[T] }

func (l *stale[T]) CachedAll() []ledger.Record[T] { return slices.Clone(l.cache) }

func (l *stale[T]) Cached(name string) (ledger.Record[T], bool) {
	i := slices.IndexFunc(l.cache, func(r ledger.Record[T]) bool { return r.Name == name })
	if i < 0 {
		return ledger.Record[T]{}, false
	}
	return l.cache[i], true
}

func (l *stale[T]) Get(_ context.Context, name string) (ledger.Record[T], error) {
	l.cache = slices.DeleteFunc(l.cache, func(r ledger.Record[T]) bool { return r.Name == name })
	return ledger.Record[T]{}, ledger.ErrAbsent
}

func (l *stale[T]) Create(context.Context, string, T) (ledger.Record[T], error) {
	return ledger.Record[T]{}, ledger.ErrConflict
}

func (l *stale[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	return r, ledger.ErrConflict
}

func (l *stale[T]) Delete(context.Context, ledger.Record[T]) error { return ledger.ErrConflict }

type staleClaims struct{ *stale[ledger.Claim] }

func (staleClaims) OfPodIP(context.Context, string, string) ([]ledger.Record[ledger.Claim], error) {
	return nil, nil
}

// The cache still has records that were deleted while the watch was broken: an expired
// claim, a port whose cooldown is over, and a port to release.
func TestSweepRefreshesAStaleCache(t *testing.T) {
	expired, ends, over := claimIn(ledger.Granted), claimIn(ledger.ClaimReleasing, fence), portIn(ledger.Cooldown, "")
	ends.Name, over.Name = "claim-2", "lb-30001"
	held := portIn(ledger.Bound, "")
	held.Value.Holder = "claim-2"
	claims, ports := &stale[ledger.Claim]{[]claimRecord{expired, ends}}, &stale[ledger.Port]{[]portRecord{over, held}}
	w := newTestObserver()
	j := janitor.New(janitor.Config{
		Claims: staleClaims{claims}, Ports: ports, Observer: w.Observer, Timing: timing,
		GetPod: func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }, //nolint:nilnil // no pod is an answer
		Count:  func(action, _ string) { t.Errorf("counted %q", action) },
		Now:    func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	if err := j.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	// claim-2 still had a port when the sweep was planned.
	if len(ports.cache) != 0 || len(claims.cache) != 1 || claims.cache[0].Name != "claim-2" {
		t.Errorf("left in the cache: %+v, %+v", claims.cache, ports.cache)
	}
	if err := j.Sweep(t.Context()); err != nil || len(claims.cache) != 0 {
		t.Errorf("left in the cache: %+v, %v", claims.cache, err)
	}
}

// However many ports are waiting, one refusal ends the requests of this sweep.
func TestSweepAsksALimitedBudgetOnce(t *testing.T) {
	one, two, done := portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Cooldown, "")
	two.Name, done.Name = "lb-30001", "lb-30002"
	ports := &current{stale[ledger.Port]{[]portRecord{one, two, done}}}
	w := newTestObserver()
	asked := 0
	j := janitor.New(janitor.Config{
		Claims: staleClaims{&stale[ledger.Claim]{}}, Ports: ports, Observer: w.Observer, Timing: timing,
		ReserveUnbind: func(context.Context, string) (bool, error) { asked++; return false, nil },
		Count:         func(action, _ string) { t.Errorf("counted %q", action) },
		Now:           func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
	for n := range 2 {
		if err := j.Sweep(t.Context()); err != nil || !j.BudgetLimited() || asked != n+1 {
			t.Errorf("sweep %d: %v, budget limited %v, asked %d times", n, err, j.BudgetLimited(), asked)
		}
	}
	ports.cache = nil
	if err := j.Sweep(t.Context()); err != nil || j.BudgetLimited() {
		t.Errorf("with nothing to unbind: %v, budget limited %v", err, j.BudgetLimited())
	}
}

// current is a table of ports whose cache is current.
type current struct{ stale[ledger.Port] }

func (s *current) Get(_ context.Context, name string) (ledger.Record[ledger.Port], error) {
	r, exists := s.Cached(name)
	if !exists {
		return r, ledger.ErrAbsent
	}
	return r, nil
}
