package janitor_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

type (
	claimRecord = ledger.Record[ledger.Claim]
	portRecord  = ledger.Record[ledger.Port]
)

var timing = janitor.Timing{ClaimDuration: 120 * time.Second, AgentGrace: 30 * time.Second, DeregisterGrace: 5 * time.Second}

// duration of the test claim is longer than any other time, so that mistaking one for
// another shows.
const duration = 240 * time.Second

// cooldown of the test port.
const cooldown = 60 * time.Second

func claimIn(state ledger.ClaimState, lists ...api.Fence) claimRecord {
	c := ledger.Claim{State: state, Duration: duration, Agent: ledger.AgentUnbinding}
	for _, f := range lists {
		c.Ports = append(c.Ports, ledger.PlannedPort{Fence: f})
	}
	return claimRecord{Name: "claim-1", UID: "u1", Version: "7", Value: c}
}

var fence = api.Fence{Lease: "lb-30000", Epoch: "e", Generation: 3}

// portIn returns a port in a state. claim-1 holds it if the state has a holder.
func portIn(state ledger.PortState, agent ledger.AgentPart) portRecord {
	p := ledger.Port{State: state, Agent: agent, CooldownTime: cooldown, Epoch: fence.Epoch, Generation: fence.Generation}
	switch state {
	case ledger.Claimed, ledger.Bound, ledger.Releasing:
		p.Holder = "claim-1"
	case ledger.Free, ledger.Cooldown, ledger.Blocked:
	}
	return portRecord{Name: fence.Lease, UID: "p1", Version: "9", Value: p}
}

const ledgerID = "cluster/portlease"

// newConfig returns the configuration of a janitor whose AWS is empty. ReserveDeletions,
// Prepaid, GetPod and Warn are missing: a call that a test does not expect panics.
func newConfig(o *testObserver, claims ledger.Table[ledger.Claim], ports ledger.Ports) janitor.Config {
	return janitor.Config{
		Ledger: ledgerID, Claims: claims, Ports: ports, AWS: emptyAWS{}, Listings: emptyAWS{}, Observer: o.Observer, Timing: timing,
		TryDescribes: neverIdle, Count: func(string, string) {}, Now: func() time.Time { return o.now }, NewEpoch: rand.Text, Log: slog.New(slog.DiscardHandler),
	}
}

func alwaysGranted(_ context.Context, _ string, deletions int) (granted int, wait time.Duration, err error) {
	return deletions, 0, nil
}

// noDeletions is a budget without mutating calls.
func noDeletions(context.Context, string, int) (granted int, wait time.Duration, err error) {
	return 0, 0, nil
}

func alwaysDeregistered(context.Context, string, int, int) (bool, error) { return true, nil }

func neverIdle(context.Context, int) (bool, error) { return false, nil }

func noPod(context.Context, string, string) (*ledger.Pod, error) {
	return nil, nil //nolint:nilnil // no pod is an answer
}

func noEvents(context.Context, string, string, string, string, string) error { return nil }

// testObserver is an observer with a clock that the test moves.
type testObserver struct {
	*janitor.Observer
	now time.Time
}

func newTestObserver() *testObserver {
	w := &testObserver{now: time.Now()}
	w.Observer = janitor.NewObserver(func() time.Time { return w.now })
	return w
}

func (w *testObserver) sees(claims []*claimRecord, ports []*portRecord, after time.Duration) {
	w.now = w.now.Add(after)
	w.Observe(claims, ports)
}

// pointers returns what a table has in its cache.
func pointers[T any](records ...T) (all []*T) {
	for _, r := range records {
		all = append(all, &r)
	}
	return all
}

// stale is a table whose cache has records that are gone. Every write conflicts. A read
// removes the record from the cache.
type stale[T any] struct {
	ledger.Table[T] // for what nobody calls
	cache           []ledger.Record[T]
}

func (l *stale[T]) index() *ledger.Index[T] {
	x := ledger.NewIndex[T]()
	for _, r := range l.cache {
		x.Put(r)
	}
	return x
}

func (l *stale[T]) CachedAll() []*ledger.Record[T] { return l.index().All() }

func (l *stale[T]) CachedBy(k ledger.Key) []*ledger.Record[T] { return l.index().By(k) }

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

// current is a table whose cache is current. It takes deletions, but no other writes.
type current[T any] struct{ stale[T] }

func (c *current[T]) Get(_ context.Context, name string) (ledger.Record[T], error) {
	r, exists := c.Cached(name)
	if !exists {
		return r, ledger.ErrAbsent
	}
	return r, nil
}

func (c *current[T]) Delete(_ context.Context, r ledger.Record[T]) error {
	c.cache = slices.DeleteFunc(c.cache, func(one ledger.Record[T]) bool { return one.Name == r.Name })
	return nil
}

func staleTable[T any](records ...ledger.Record[T]) *stale[T] { return &stale[T]{cache: records} }

func currentTable[T any](records ...ledger.Record[T]) *current[T] {
	return &current[T]{stale[T]{cache: records}}
}

// emptyAWS is AWS with one load balancer and no listener.
type emptyAWS struct{ janitor.AWS }

func (emptyAWS) TargetGroups(context.Context) ([]elb.TargetGroup, error) { return nil, nil }

func (emptyAWS) List(context.Context) (map[string][]elb.Listener, error) {
	return map[string][]elb.Listener{"": nil}, nil
}

func (emptyAWS) Listeners(context.Context, string) ([]elb.Listener, error) { return nil, nil }
func (emptyAWS) Offers(string, int) bool                                   { return true }
func (emptyAWS) Sticky(string, int) (time.Duration, bool)                  { return 0, true }
