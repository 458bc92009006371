package sim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// revisions numbers the writes of all kinds, as etcd does.
type revisions struct{ last, objects int }

func (r *revisions) next() string {
	r.last++
	return strconv.Itoa(r.last)
}

func (r *revisions) uid() string {
	r.objects++
	return fmt.Sprintf("lease-uid-%d", r.objects)
}

// store is one kind of Lease as the API server has it. It is used by the
// scheduler's goroutine alone.
type store[T any] struct {
	revisions *revisions
	rows      map[string]ledger.Record[T]
	// stored makes of a value what is read back: nothing that is shared, and
	// times as precise as the wire's.
	stored func(T) T
	// watchers are told of every change.
	watchers []func(before, now *ledger.Record[T])
	// history is what each change replaced, in order.
	history []replaced[T]
	lists   int // by claims' address so far
}

// replaced is what a row was until a revision; nil if there was none.
type replaced[T any] struct {
	name   string
	until  int
	before *ledger.Record[T]
}

func newStore[T any](r *revisions, stored func(T) T) *store[T] {
	return &store[T]{revisions: r, rows: make(map[string]ledger.Record[T]), stored: stored}
}

func storedPort(p ledger.Port) ledger.Port {
	p.UpdatedAt = p.UpdatedAt.UTC().Truncate(time.Microsecond)
	return p
}

func storedClaim(c ledger.Claim) ledger.Claim {
	c.RenewedAt = c.RenewedAt.UTC().Truncate(time.Microsecond)
	c.Duration = c.Duration.Truncate(time.Second)
	c.Wanted, c.Ports = slices.Clone(c.Wanted), slices.Clone(c.Ports)
	return c
}

func storedBalancer(b ledger.Cordon) ledger.Cordon {
	b.UpdatedAt = b.UpdatedAt.UTC().Truncate(time.Microsecond)
	return b
}

func storedBudget(b ledger.Budget) ledger.Budget {
	b.UpdatedAt = b.UpdatedAt.UTC().Truncate(time.Microsecond)
	b.Open = slices.Clone(b.Open)
	return b
}

// copied gives a row that shares nothing with the stored one.
func (s *store[T]) copied(r ledger.Record[T]) ledger.Record[T] {
	r.Value = s.stored(r.Value)
	return r
}

func (s *store[T]) get(name string) (ledger.Record[T], error) {
	r, exists := s.rows[name]
	if !exists {
		return r, fmt.Errorf("%w: %s", ledger.ErrAbsent, name)
	}
	return s.copied(r), nil
}

func (s *store[T]) create(name string, value T) (ledger.Record[T], error) {
	if _, exists := s.rows[name]; exists {
		return ledger.Record[T]{}, fmt.Errorf("creating lease %s: %w", name, ledger.ErrConflict)
	}
	return s.put(nil, ledger.Record[T]{Name: name, UID: s.revisions.uid(), CreatedAt: time.Now().UTC().Truncate(time.Second), Value: value}), nil
}

var (
	errNoVersion = errors.New("no version was read")
	// errGone is an update of what is not there: a conflict to the caller.
	errGone = errors.New("it was deleted")
)

func (s *store[T]) update(r ledger.Record[T]) (ledger.Record[T], error) {
	if r.Version == "" || r.UID == "" {
		return r, fmt.Errorf("updating lease %s: %w", r.Name, errNoVersion)
	}
	before, exists := s.rows[r.Name]
	if !exists {
		return r, fmt.Errorf("updating lease %s: %w: %w", r.Name, ledger.ErrConflict, errGone)
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

func (s *store[T]) put(before *ledger.Record[T], r ledger.Record[T]) ledger.Record[T] {
	r.Value = s.stored(r.Value)
	r.Version = s.revisions.next()
	s.rows[r.Name] = r
	s.history = append(s.history, replaced[T]{r.Name, s.revisions.last, before})
	for _, tell := range s.watchers {
		tell(before, &r)
	}
	return s.copied(r)
}

func (s *store[T]) delete(r ledger.Record[T]) error {
	before, exists := s.rows[r.Name]
	if !exists {
		return nil
	}
	if before.UID != r.UID || before.Version != r.Version {
		return fmt.Errorf("deleting lease %s: %w", r.Name, ledger.ErrConflict)
	}
	delete(s.rows, r.Name)
	s.revisions.next()
	s.history = append(s.history, replaced[T]{r.Name, s.revisions.last, &before})
	for _, tell := range s.watchers {
		tell(&before, nil)
	}
	return nil
}

// list gives all rows by name.
func (s *store[T]) list() []ledger.Record[T] { return s.sorted(s.rows) }

// listAt gives all rows as they were at a revision.
func (s *store[T]) listAt(revision int) []ledger.Record[T] {
	rows := maps.Clone(s.rows)
	for _, change := range slices.Backward(s.history) {
		switch {
		case change.until <= revision:
			return s.sorted(rows)
		case change.before == nil:
			delete(rows, change.name)
		default:
			rows[change.name] = *change.before
		}
	}
	return s.sorted(rows)
}

func (s *store[T]) sorted(rows map[string]ledger.Record[T]) []ledger.Record[T] {
	all := make([]ledger.Record[T], 0, len(rows))
	for _, r := range rows {
		all = append(all, s.copied(r))
	}
	slices.SortFunc(all, func(a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
