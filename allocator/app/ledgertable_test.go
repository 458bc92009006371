package app_test

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// The tests of kept_test.go and line_test.go are about orders of events that
// cannot be forced on a real API server: a lease deleted between two calls, a
// backup put back while a pod holds its port. So their tables are in memory, with
// the compare-and-swap of the API server; who decides on them is the real service
// and the real janitor.

// ledgerTable is a table of one process.
type ledgerTable[T any] struct {
	rows map[string]ledger.Record[T]
	// late are names that the view does not show yet.
	late map[string]bool
	// behind are older records that the view still shows.
	behind map[string]ledger.Record[T]
	// unreadable are names whose record makes no sense.
	unreadable map[string]bool
	writes     int
	reads      int // consistent ones, of one row
}

func newLedgerTable[T any]() *ledgerTable[T] {
	return &ledgerTable[T]{rows: make(map[string]ledger.Record[T]), late: make(map[string]bool), unreadable: make(map[string]bool)}
}

func (l *ledgerTable[T]) CachedAll() []ledger.Record[T] {
	all := slices.SortedFunc(maps.Values(l.rows), func(a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) })
	return slices.DeleteFunc(all, func(r ledger.Record[T]) bool { return l.late[r.Name] })
}

func (l *ledgerTable[T]) Cached(name string) (ledger.Record[T], bool) {
	if l.late[name] {
		return ledger.Record[T]{}, false
	}
	if old, is := l.behind[name]; is {
		return old, true
	}
	r, seen := l.rows[name]
	return r, seen
}

func (l *ledgerTable[T]) Get(_ context.Context, name string) (ledger.Record[T], error) {
	l.reads++
	r, exists := l.rows[name]
	switch {
	case !exists:
		return r, ledger.ErrAbsent
	case l.unreadable[name]:
		return r, ledger.ErrUnreadable
	}
	return r, nil
}

func (l *ledgerTable[T]) Create(_ context.Context, name string, value T) (ledger.Record[T], error) {
	if _, exists := l.rows[name]; exists {
		return ledger.Record[T]{}, ledger.ErrConflict
	}
	return l.write(ledger.Record[T]{Name: name, UID: "uid-" + strconv.Itoa(l.writes+1), CreatedAt: time.Unix(int64(l.writes+1), 0), Value: value}), nil
}

func (l *ledgerTable[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	now, exists := l.rows[r.Name]
	if !exists || now.Version != r.Version {
		return r, ledger.ErrConflict
	}
	if reflect.DeepEqual(now, r) {
		return r, nil
	}
	return l.write(r), nil
}

func (l *ledgerTable[T]) Delete(_ context.Context, r ledger.Record[T]) error {
	now, exists := l.rows[r.Name]
	if exists && now.Version != r.Version {
		return ledger.ErrConflict
	}
	delete(l.rows, r.Name)
	return nil
}

func (l *ledgerTable[T]) write(r ledger.Record[T]) ledger.Record[T] {
	l.writes++
	r.Version = strconv.Itoa(l.writes)
	l.rows[r.Name] = r
	delete(l.unreadable, r.Name)
	return r
}

// exchange is what a person does behind the allocator's back: another Lease under
// the same name.
func (l *ledgerTable[T]) exchange(t *testing.T, name string, value T) {
	t.Helper()
	delete(l.rows, name)
	if _, err := l.Create(t.Context(), name, value); err != nil {
		t.Fatal(err)
	}
}

type claimTable struct{ *ledgerTable[ledger.Claim] }

func (c claimTable) OfPodIP(_ context.Context, ip, _ string) ([]ledger.Record[ledger.Claim], error) {
	return slices.DeleteFunc(c.CachedAll(), func(r ledger.Record[ledger.Claim]) bool { return !r.Value.Records(ip) }), nil
}
