package ledgermem

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Store is one kind of record. Its methods may be called concurrently.
type Store[T any] struct {
	revisions *revisions
	// stored returns a value as it is read back: it shares nothing with the one
	// given, and its times are as precise as those of a Lease.
	stored func(T) T

	// writing is held during a write and until all watchers have heard of it.
	writing  sync.Mutex
	watchers []*watcher[T]

	mu sync.Mutex // guards all below
	// rows that are unreadable have the zero value, as in a cache.
	rows          map[string]ledger.Record[T]
	reads, writes int
	// history is what the last writes replaced, in order.
	history []replaced[T]
	lists   int // by address so far
}

// maxHistory is for how many writes a list may be stale.
const maxHistory = 10_000

// watcher holds a function of its own, so that each can be removed.
type watcher[T any] struct {
	hear func(before, now *ledger.Record[T])
}

// replaced is what a row was until a revision; nil if there was none.
type replaced[T any] struct {
	name   string
	until  int
	before *ledger.Record[T]
}

func newStore[T any](r *revisions, stored func(T) T) *Store[T] {
	return &Store[T]{revisions: r, stored: stored, rows: make(map[string]ledger.Record[T])}
}

// Watch calls hear with every later write, in order: what the row was before and
// is now, nil for absent. hear may read the store and must not write to it. stop
// ends that.
func (s *Store[T]) Watch(hear func(before, now *ledger.Record[T])) (stop func()) {
	w := &watcher[T]{hear}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.watchers = append(s.watchers, w)
	return func() {
		s.writing.Lock()
		defer s.writing.Unlock()
		s.watchers = slices.DeleteFunc(s.watchers, func(other *watcher[T]) bool { return other == w })
	}
}

// Get is a consistent read, as ledger.Table has it.
func (s *Store[T]) Get(name string) (ledger.Record[T], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	r, exists := s.rows[name]
	switch {
	case !exists:
		return r, fmt.Errorf("%w: %s", ledger.ErrAbsent, name)
	case reflect.ValueOf(&r.Value).Elem().IsZero():
		return ledger.Record[T]{}, fmt.Errorf("%w: %s", ledger.ErrUnreadable, name)
	}
	return s.copied(r), nil
}

// Row returns a row as it is stored. Do not change what it points to.
func (s *Store[T]) Row(name string) (ledger.Record[T], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, exists := s.rows[name]
	return r, exists
}

// Value is the value of a row; the zero value if there is none.
func (s *Store[T]) Value(name string) T {
	r, _ := s.Row(name)
	return r.Value
}

// Create adds a record.
func (s *Store[T]) Create(name string, value T) (ledger.Record[T], error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, exists := s.Row(name); exists {
		return ledger.Record[T]{}, fmt.Errorf("creating lease %s: %w", name, ledger.ErrConflict)
	}
	return s.create(name, value), nil
}

// create adds a record. The caller holds writing.
func (s *Store[T]) create(name string, value T) ledger.Record[T] {
	return s.put(nil, ledger.Record[T]{Name: name, UID: s.revisions.uid(), CreatedAt: time.Now().UTC().Truncate(time.Second), Value: value})
}

var (
	errNoVersion = errors.New("no version was read")
	// errDeleted is an update of a record that is absent: a conflict to the caller.
	errDeleted = errors.New("it was deleted")
)

// Update writes a record that was read.
func (s *Store[T]) Update(r ledger.Record[T]) (ledger.Record[T], error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if r.Version == "" || r.UID == "" {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, errNoVersion)
	}
	before, exists := s.Row(r.Name)
	if !exists {
		return r, fmt.Errorf("updating lease %s: %w: %w", r.Name, ledger.ErrConflict, errDeleted)
	}
	if before.UID != r.UID || before.Version != r.Version {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, ledger.ErrConflict)
	}
	if reflect.DeepEqual(s.stored(r.Value), before.Value) {
		return s.copied(before), nil // the API server writes nothing when nothing changes
	}
	r.CreatedAt = before.CreatedAt
	return s.put(&before, r), nil
}

// Reads is how many reads of one record there were, also of an absent one.
func (s *Store[T]) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// Writes is how many writes were carried out.
func (s *Store[T]) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *Store[T]) put(before *ledger.Record[T], r ledger.Record[T]) ledger.Record[T] {
	r.Value = s.stored(r.Value)
	revision := s.revisions.next()
	r.Version = strconv.Itoa(revision)
	s.written(r.Name, revision, before, &r)
	return s.copied(r)
}

// written records one write and notifies the watchers.
func (s *Store[T]) written(name string, revision int, before, now *ledger.Record[T]) {
	s.mu.Lock()
	s.writes++
	if now != nil {
		s.rows[name] = *now
	} else {
		delete(s.rows, name)
	}
	s.history = append(s.history, replaced[T]{name, revision, before})
	if len(s.history) >= 2*maxHistory {
		s.history = slices.Delete(s.history, 0, maxHistory)
	}
	s.mu.Unlock()
	for _, w := range s.watchers {
		w.hear(before, now)
	}
}

// Delete removes the version that was read; an absent record is success.
func (s *Store[T]) Delete(r ledger.Record[T]) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	before, exists := s.Row(r.Name)
	if !exists {
		return nil
	}
	if before.UID != r.UID || before.Version != r.Version {
		return fmt.Errorf("deleting lease %s: %w", r.Name, ledger.ErrConflict)
	}
	s.written(r.Name, s.revisions.next(), &before, nil)
	return nil
}

// List returns all rows by name.
func (s *Store[T]) List() []ledger.Record[T] {
	return s.Where(func(T) bool { return true })
}

// Where returns the rows with a wanted value, by name. wanted must not change the value.
func (s *Store[T]) Where(wanted func(T) bool) []ledger.Record[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sorted(s.rows, wanted)
}

// Len is how many rows there are.
func (s *Store[T]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

// rowsAt returns the rows as they were at a revision, or as far back as the history
// reaches. The caller has the lock.
func (s *Store[T]) rowsAt(revision int) map[string]ledger.Record[T] {
	rows := maps.Clone(s.rows)
	for _, change := range slices.Backward(s.history) {
		switch {
		case change.until <= revision:
			return rows
		case change.before == nil:
			delete(rows, change.name)
		default:
			rows[change.name] = *change.before
		}
	}
	return rows
}

// copied returns a row that shares nothing with the stored one.
func (s *Store[T]) copied(r ledger.Record[T]) ledger.Record[T] {
	r.Value = s.stored(r.Value)
	return r
}

func (s *Store[T]) sorted(rows map[string]ledger.Record[T], wanted func(T) bool) []ledger.Record[T] {
	var all []ledger.Record[T]
	for _, r := range rows {
		if wanted(r.Value) {
			all = append(all, s.copied(r))
		}
	}
	slices.SortFunc(all, byName)
	return all
}

func byName[T any](a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) }
