package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// table is one replica's ledger.Table: the store through the network, and a view
// that is fed by late events and by the replica's own calls.
type table[T any] struct {
	process *Process
	store   *store[T]

	// events are on their way to the view, in order; the scheduler's goroutine
	// delivers them.
	events []event[T]

	mu   sync.Mutex // guards all below
	seen map[string]ledger.Record[T]
	// deleted has UIDs of which neither a late event nor a late answer may bring
	// anything back.
	deleted map[string]bool
}

// event is a change that a watch tells of.
type event[T any] struct {
	due    time.Time
	record ledger.Record[T]
	gone   bool
}

// newTable lists the store at once and watches it from then on. lag is how late
// the next event comes.
func newTable[T any](p *Process, s *store[T], lag func() time.Duration) *table[T] {
	t := &table[T]{process: p, store: s, seen: make(map[string]ledger.Record[T]), deleted: make(map[string]bool)}
	for _, r := range s.list() {
		t.seen[r.Name] = r
	}
	s.watchers = append(s.watchers, func(before, now *ledger.Record[T]) {
		if !p.alive() {
			return
		}
		e := event[T]{due: time.Now().Add(lag())}
		if len(t.events) > 0 && t.events[len(t.events)-1].due.After(e.due) {
			e.due = t.events[len(t.events)-1].due
		}
		if now != nil {
			e.record = s.copied(*now)
		} else {
			e.record, e.gone = s.copied(*before), true
		}
		t.events = append(t.events, e)
	})
	return t
}

// deliver tells the view what has arrived by now.
func (t *table[T]) deliver(now time.Time) {
	for len(t.events) > 0 && !t.events[0].due.After(now) {
		e := t.events[0]
		t.events = t.events[1:]
		if e.gone {
			t.bury(e.record.Name, e.record.UID)
		} else {
			t.learn(e.record)
		}
	}
}

// View implements ledger.Table.
func (t *table[T]) CachedAll() []ledger.Record[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]ledger.Record[T], 0, len(t.seen))
	for _, r := range t.seen {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Cached implements ledger.Table.
func (t *table[T]) Cached(name string) (ledger.Record[T], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.seen[name]
	return r, ok
}

// Get implements ledger.Table.
func (t *table[T]) Get(ctx context.Context, name string) (ledger.Record[T], error) {
	t.mu.Lock()
	before := t.seen[name].UID
	t.mu.Unlock()
	r, err := ask(ctx, t.process, kindRead, "get "+name, func() (ledger.Record[T], error) { return t.store.get(name) })
	if errors.Is(err, ledger.ErrAbsent) {
		t.bury(name, before)
	}
	if err != nil {
		return ledger.Record[T]{}, err
	}
	return t.learn(r), nil
}

// Create implements ledger.Table.
func (t *table[T]) Create(ctx context.Context, name string, value T) (ledger.Record[T], error) {
	value = t.store.stored(value)
	r, err := ask(ctx, t.process, kindWrite, "create "+name+show(value), func() (ledger.Record[T], error) { return t.store.create(name, value) })
	if err != nil {
		return ledger.Record[T]{}, err
	}
	return t.learn(r), nil
}

// Update implements ledger.Table.
func (t *table[T]) Update(ctx context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	sent := t.store.copied(r)
	updated, err := ask(ctx, t.process, kindWrite, "update "+r.Name+"@"+r.Version+show(r.Value), func() (ledger.Record[T], error) { return t.store.update(sent) })
	if errors.Is(err, errGone) {
		t.bury(r.Name, r.UID)
	}
	if err != nil {
		return r, err
	}
	return t.learn(updated), nil
}

// Delete implements ledger.Table.
func (t *table[T]) Delete(ctx context.Context, r ledger.Record[T]) error {
	_, err := ask(ctx, t.process, kindWrite, "delete "+r.Name+"@"+r.Version, func() (struct{}, error) { return struct{}{}, t.store.delete(r) })
	if err != nil {
		return err
	}
	t.bury(r.Name, r.UID)
	return nil
}

// learn puts a record into the view unless something newer is there.
func (t *table[T]) learn(r ledger.Record[T]) ledger.Record[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted[r.UID] {
		return r
	}
	if known, ok := t.seen[r.Name]; !ok || number(r.Version) > number(known.Version) {
		t.seen[r.Name] = r
	}
	return r
}

// bury takes a deleted record out of the view.
func (t *table[T]) bury(name, uid string) {
	if uid == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deleted[uid] = true
	if t.seen[name].UID == uid {
		delete(t.seen, name)
	}
}

// number reads a version of this store, which is always one.
func number(version string) int {
	n, err := strconv.Atoi(version)
	if err != nil {
		panic(fmt.Sprintf("version %q is not of this store", version))
	}
	return n
}

// show says in a trace what a record holds.
func show(value any) string {
	switch v := value.(type) {
	case ledger.Port:
		part := ""
		if v.Agent != "" {
			part = " agent=" + string(v.Agent)
		}
		return fmt.Sprintf(" {%s gen %d holder %q%s tg=%.8s}", v.State, v.Generation, v.Holder, part, ledger.LoadBalancerID(v.TargetGroupARN))
	case ledger.Claim:
		words := []string{fmt.Sprintf(" {%s ip %s", v.State, v.PodIP)}
		for _, p := range v.Ports {
			words = append(words, fmt.Sprintf("%d.%d", p.ListenerPort, p.Fence.Generation))
		}
		return strings.Join(words, " ") + "}"
	}
	return ""
}

// claimTable adds the read that only claims have.
type claimTable struct{ *table[ledger.Claim] }

// OfPodIP implements ledger.Claims. Every other answer is as old as it may be.
func (t claimTable) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	return ask(ctx, t.process, kindRead, "list claims of "+ip, func() ([]ledger.Record[ledger.Claim], error) {
		rows := t.store.list()
		if t.store.lists++; t.store.lists%2 == 0 {
			rows = t.store.listAt(number(since))
		}
		return slices.DeleteFunc(rows, func(r ledger.Record[ledger.Claim]) bool { return !r.Value.Records(ip) }), nil
	})
}
