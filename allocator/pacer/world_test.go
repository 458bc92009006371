package pacer_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/api"
)

// store is the truth of one kind of record, as an API server keeps it.
type store[T any] struct {
	mu      sync.Mutex
	version int
	records map[string]ledger.Record[T]
	writes  int
	// flight is how long each call takes.
	flight time.Duration
	// answer is how long the writer learns of its write later than those who watch
	// could.
	answer time.Duration
	// fault, if set, is asked before each write whether it is carried out, and what
	// the writer is told then.
	fault func() (apply bool, err error)
	// watches are told of each write.
	watches []chan struct{}
}

func newStore[T any]() *store[T] { return &store[T]{records: make(map[string]ledger.Record[T])} }

// table is one replica's way to a store. Its view is all there is, unless it is
// held back.
type table[T any] struct {
	*store[T]
	// stale, if not nil, is the view.
	stale map[string]ledger.Record[T]
}

func (t *table[T]) view() map[string]ledger.Record[T] {
	if t.stale != nil {
		return t.stale
	}
	return t.records
}

func (t *table[T]) View() (all []ledger.Record[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.view() {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (t *table[T]) Peek(name string) (ledger.Record[T], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.view()[name]
	return r, ok
}

func (t *table[T]) Get(ctx context.Context, name string) (ledger.Record[T], error) {
	if err := t.fly(ctx); err != nil {
		return ledger.Record[T]{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.records[name]
	if !ok {
		return r, ledger.ErrAbsent
	}
	if t.stale != nil {
		t.stale[name] = r
	}
	return r, nil
}

func (t *table[T]) Create(ctx context.Context, name string, value T) (ledger.Record[T], error) {
	return t.write(ctx, ledger.Record[T]{Name: name, CreatedAt: time.Now().Truncate(time.Second), Value: value}, false)
}

func (t *table[T]) Update(ctx context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	return t.write(ctx, r, true)
}

func (t *table[T]) write(ctx context.Context, r ledger.Record[T], exists bool) (ledger.Record[T], error) {
	if err := t.fly(ctx); err != nil {
		return r, err
	}
	if t.answer > 0 {
		defer time.Sleep(t.answer) // of the bubble's clock
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.records[r.Name]
	if ok != exists || known.Version != r.Version || known.UID != r.UID {
		return r, ledger.ErrConflict
	}
	apply, err := true, error(nil)
	if t.fault != nil {
		apply, err = t.fault()
	}
	if apply {
		t.writes++
		t.version++
		r.Version = strconv.Itoa(t.version)
		if r.UID == "" {
			r.UID = "uid-" + r.Version
		}
		t.records[r.Name] = r
		if t.stale != nil {
			t.stale[r.Name] = r
		}
		for _, told := range t.watches {
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}
	return r, err
}

func (t *table[T]) Delete(_ context.Context, r ledger.Record[T]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.records, r.Name)
	return nil
}

func (t *table[T]) fly(ctx context.Context) error {
	if t.flight == 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(t.flight):
		return nil
	}
}

// claimTable adds what only claims have.
type claimTable struct{ *table[ledger.Claim] }

func (claimTable) OfPodIP(context.Context, string) ([]ledger.Record[ledger.Claim], error) {
	return nil, errors.New("not asked for")
}

// installation is a ledger that several replicas share.
type installation struct {
	t       *testing.T
	budgets *store[ledger.Budget]
	claims  *store[ledger.Claim]
	ports   *store[ledger.Port]
	made    int

	mu     sync.Mutex
	counts map[string]int // class and outcome
}

const (
	renewEvery = 30 * time.Second
	watchLag   = 20 * time.Millisecond
)

func newInstallation(t *testing.T) *installation {
	t.Helper()
	return &installation{t: t, budgets: newStore[ledger.Budget](), claims: newStore[ledger.Claim](), ports: newStore[ledger.Port](), counts: make(map[string]int)}
}

// replica is one allocator's pacer.
type replica struct {
	*pacer.Pacer
	budgets *table[ledger.Budget]
	age     func(name, version string) time.Duration
}

func (i *installation) replica() *replica {
	r := &replica{budgets: &table[ledger.Budget]{store: i.budgets}}
	r.Pacer = pacer.New(pacer.Config{
		Budgets: r.budgets, Claims: claimTable{&table[ledger.Claim]{store: i.claims}}, Ports: &table[ledger.Port]{store: i.ports},
		Limits: budget.Default, Now: time.Now, RenewEvery: renewEvery,
		Age: func(name, version string) time.Duration {
			if r.age == nil {
				return 0
			}
			return r.age(name, version)
		},
		Log: slog.New(slog.NewTextHandler(i.t.Output(), nil)),
		Count: func(class, outcome string) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.counts[class+" "+outcome]++
		},
	})
	told := make(chan struct{}, 1)
	i.budgets.mu.Lock()
	i.budgets.watches = append(i.budgets.watches, told)
	i.budgets.mu.Unlock()
	go func() {
		for {
			select {
			case <-i.t.Context().Done():
				return
			case <-told:
			}
			select {
			case <-i.t.Context().Done():
				return
			case <-time.After(watchLag):
				r.Observe()
			}
		}
	}()
	return r
}

// claim makes a granted claim of some ports, of which nothing is in AWS.
func (i *installation) claim(ports int) ledger.Record[ledger.Claim] {
	i.t.Helper()
	i.made++
	name := ledger.ClaimName(fmt.Sprintf("%04d", i.made))
	c := ledger.Claim{Namespace: "games", Pod: name, State: ledger.Granted}
	for n := range ports {
		f := api.Fence{Lease: fmt.Sprintf("lb-%d-%d", i.made, n), Epoch: "e", Generation: 1}
		c.Ports = append(c.Ports, ledger.PlannedPort{ListenerPort: n + 1, Fence: f})
		if _, err := (&table[ledger.Port]{store: i.ports}).Create(i.t.Context(), f.Lease, ledger.Port{
			State: ledger.Claimed, Holder: name, Epoch: f.Epoch, Generation: 1,
		}); err != nil {
			i.t.Fatal(err)
		}
	}
	r, err := (&table[ledger.Claim]{store: i.claims}).Create(i.t.Context(), name, c)
	if err != nil {
		i.t.Fatal(err)
	}
	return r
}

// portsOf are the records of a claim's plan.
func (i *installation) portsOf(c ledger.Record[ledger.Claim]) (ports []ledger.Port) {
	i.ports.mu.Lock()
	defer i.ports.mu.Unlock()
	for _, p := range c.Value.Ports {
		ports = append(ports, i.ports.records[p.Fence.Lease].Value)
	}
	return ports
}

// change changes all ports of a claim.
func (i *installation) change(c ledger.Record[ledger.Claim], change func(*ledger.Port)) {
	i.ports.mu.Lock()
	defer i.ports.mu.Unlock()
	for _, p := range c.Value.Ports {
		r := i.ports.records[p.Fence.Lease]
		change(&r.Value)
		i.ports.records[p.Fence.Lease] = r
	}
}

// bound is a claim whose ports have their target groups and listeners.
func (i *installation) bound(c ledger.Record[ledger.Claim]) {
	i.change(c, func(p *ledger.Port) { p.State, p.TargetGroupARN, p.ListenerARN = ledger.Bound, "tg", "listener" })
}

func (i *installation) remove(c ledger.Record[ledger.Claim]) {
	i.claims.mu.Lock()
	defer i.claims.mu.Unlock()
	delete(i.claims.records, c.Name)
}

func (i *installation) count(what string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts[what]
}

// bind must not fail.
func (i *installation) bind(r *replica, c ledger.Record[ledger.Claim]) time.Duration {
	i.t.Helper()
	wait, err := r.Bind(i.t.Context(), c, i.portsOf(c), 0)
	if err != nil {
		i.t.Fatal(err)
	}
	return wait
}

// fill makes the budget's Lease and lets its buckets fill.
func (i *installation) fill(r *replica) {
	i.t.Helper()
	if err := r.Look(i.t.Context(), 1); err != nil {
		i.t.Fatal(err)
	}
	time.Sleep(time.Minute) // of the bubble's clock
}
