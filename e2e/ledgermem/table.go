package ledgermem

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Call is one call of a process to the API server.
type Call struct {
	// Verb is get, list, create, update or delete.
	Verb string
	// Name is the record's; for list, the address that claims are listed by.
	Name, Version string
	// Value is what is written.
	Value any
}

// Write reports whether the call changes something.
func (c Call) Write() bool { return c.Verb == "create" || c.Verb == "update" || c.Verb == "delete" }

// Network carries a call: it runs apply, which does not block, now, later or
// never, and returns what the caller learns. After an error of its own the caller
// does not know the outcome.
type Network func(ctx context.Context, c Call, apply func() error) error

// Direct is a network without delays and faults.
func Direct(ctx context.Context, _ Call, apply func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return apply()
}

// Table is the ledger.Table of one process.
type Table[T any] struct {
	store   *Store[T]
	network Network
	// lag is how late the next event arrives; nil: events arrive at once.
	lag  func() time.Duration
	stop func()

	mu sync.Mutex // guards all below
	// events are on their way to the cache, in order.
	events []event[T]
	cache  *ledger.Index[T]
	// tombstones are UIDs of deleted records: neither a late event nor a late
	// answer may bring them back.
	tombstones map[string]bool
	// frozen is what the cache shows instead of its records; nil: them.
	frozen *ledger.Index[T]
}

// NewTable lists a store at once and watches it from then on. With a lag, events
// wait until Deliver.
func NewTable[T any](s *Store[T], network Network, lag func() time.Duration) *Table[T] {
	t := &Table[T]{store: s, network: network, lag: lag, cache: ledger.NewIndex[T](), tombstones: make(map[string]bool)}
	for _, r := range s.List() {
		t.cache.Put(r)
	}
	t.stop = s.Watch(t.hear)
	return t
}

// Close ends the watch, as the end of the process does.
func (t *Table[T]) Close() { t.stop() }

// Get implements ledger.Table.
func (t *Table[T]) Get(ctx context.Context, name string) (ledger.Record[T], error) {
	before, _ := t.Cached(name)
	r, err := call(ctx, t.network, Call{Verb: "get", Name: name}, func() (ledger.Record[T], error) { return t.store.Get(name) })
	if errors.Is(err, ledger.ErrAbsent) {
		t.forget(name, before.UID)
	}
	if err != nil {
		return ledger.Record[T]{}, err
	}
	return t.learn(r), nil
}

// Create implements ledger.Table.
func (t *Table[T]) Create(ctx context.Context, name string, value T) (ledger.Record[T], error) {
	value = t.store.stored(value)
	r, err := call(ctx, t.network, Call{Verb: "create", Name: name, Value: value}, func() (ledger.Record[T], error) { return t.store.Create(name, value) })
	if err != nil {
		return ledger.Record[T]{}, err
	}
	return t.learn(r), nil
}

// Update implements ledger.Table.
func (t *Table[T]) Update(ctx context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	sent := t.store.copied(r)
	updated, err := call(ctx, t.network, Call{Verb: "update", Name: r.Name, Version: r.Version, Value: sent.Value}, func() (ledger.Record[T], error) { return t.store.Update(sent) })
	if errors.Is(err, errDeleted) {
		t.forget(r.Name, r.UID)
	}
	if err != nil {
		return r, err
	}
	return t.learn(updated), nil
}

// Delete implements ledger.Table.
func (t *Table[T]) Delete(ctx context.Context, r ledger.Record[T]) error {
	err := t.network(ctx, Call{Verb: "delete", Name: r.Name, Version: r.Version}, func() error { return t.store.Delete(r) })
	if err == nil {
		t.forget(r.Name, r.UID)
	}
	return err
}

// call carries a call that has an answer. An answer that comes after the caller
// has given up reaches nobody.
func call[A any](ctx context.Context, network Network, c Call, apply func() (A, error)) (answer A, err error) {
	answered := new(A)
	if err := network(ctx, c, func() (err error) { *answered, err = apply(); return err }); err != nil {
		return answer, err
	}
	return *answered, nil
}

// ClaimTable adds the reads that only claims have.
type ClaimTable struct{ *Table[ledger.Claim] }

// NewClaimTable is NewTable for claims.
func NewClaimTable(s *Store[ledger.Claim], network Network, lag func() time.Duration) ClaimTable {
	return ClaimTable{NewTable(s, network, lag)}
}

// OfPodIP implements ledger.Claims. With a lag, every other answer is as old as it may
// be.
func (t ClaimTable) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	return call(ctx, t.network, Call{Verb: "list", Name: ip}, func() ([]ledger.Record[ledger.Claim], error) {
		return t.store.claims(since, t.lag != nil, func(c ledger.Claim) bool { return c.Records(ip) }), nil
	})
}

// OfNamespace implements ledger.Claims, as OfPodIP does.
func (t ClaimTable) OfNamespace(ctx context.Context, namespace, since string) ([]ledger.Record[ledger.Claim], error) {
	return call(ctx, t.network, Call{Verb: "list", Name: namespace}, func() ([]ledger.Record[ledger.Claim], error) {
		return t.store.claims(since, t.lag != nil, func(c ledger.Claim) bool { return c.Namespace == namespace }), nil
	})
}

func (s *Store[T]) claims(since string, lag bool, wanted func(ledger.Claim) bool) []ledger.Record[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.rows
	if s.lists++; lag && s.lists%2 == 0 {
		rows = s.rowsAt(revision(since))
	}
	return s.sorted(rows, func(value T) bool {
		c, ok := any(value).(ledger.Claim)
		return ok && wanted(c)
	})
}

// String describes the call in a trace, without the value.
func (c Call) String() string {
	words := []string{c.Verb, c.Name}
	if c.Verb == "list" {
		words = []string{"list claims of", c.Name}
	}
	if c.Version != "" {
		words[1] += "@" + c.Version
	}
	return strings.Join(words, " ")
}
