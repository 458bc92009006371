package pacer_test

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
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

func (t *table[T]) CachedAll() (all []ledger.Record[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.view() {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (t *table[T]) Cached(name string) (ledger.Record[T], bool) {
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

// written is how many writes were carried out.
func (s *store[T]) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}
