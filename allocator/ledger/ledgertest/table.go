// Package ledgertest has a ledger in memory, for tests of packages that use one.
//
// Writes are compare-and-swap, as on the API server. A test can make the cache
// stale, make records unreadable, and count calls, which it cannot force on a real
// API server.
package ledgertest

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

// Table is a ledger.Table in memory. It is not safe for concurrent use.
type Table[T any] struct {
	Rows map[string]ledger.Record[T]
	// Hidden has the names of records that the cache does not show yet.
	Hidden map[string]bool
	// Stale has the older versions of records that the cache still shows.
	Stale map[string]ledger.Record[T]
	// Unreadable has the names of records that Get cannot read.
	Unreadable map[string]bool
	// Writes counts creations and updates, Reads counts calls of Get.
	Writes, Reads int
}

// NewTable makes an empty table.
func NewTable[T any]() *Table[T] {
	return &Table[T]{
		Rows: make(map[string]ledger.Record[T]), Hidden: make(map[string]bool),
		Stale: make(map[string]ledger.Record[T]), Unreadable: make(map[string]bool),
	}
}

// CachedAll implements ledger.Table. It ignores Stale.
func (t *Table[T]) CachedAll() []ledger.Record[T] {
	all := slices.SortedFunc(maps.Values(t.Rows), func(a, b ledger.Record[T]) int { return cmp.Compare(a.Name, b.Name) })
	return slices.DeleteFunc(all, func(r ledger.Record[T]) bool { return t.Hidden[r.Name] })
}

// Cached implements ledger.Table.
func (t *Table[T]) Cached(name string) (ledger.Record[T], bool) {
	if t.Hidden[name] {
		return ledger.Record[T]{}, false
	}
	if old, is := t.Stale[name]; is {
		return old, true
	}
	r, exists := t.Rows[name]
	return r, exists
}

// Get implements ledger.Table.
func (t *Table[T]) Get(_ context.Context, name string) (ledger.Record[T], error) {
	t.Reads++
	r, exists := t.Rows[name]
	switch {
	case !exists:
		return r, ledger.ErrAbsent
	case t.Unreadable[name]:
		return r, ledger.ErrUnreadable
	}
	return r, nil
}

// Create implements ledger.Table.
func (t *Table[T]) Create(_ context.Context, name string, value T) (ledger.Record[T], error) {
	if _, exists := t.Rows[name]; exists {
		return ledger.Record[T]{}, ledger.ErrConflict
	}
	n := t.Writes + 1
	return t.Write(ledger.Record[T]{Name: name, UID: "uid-" + strconv.Itoa(n), CreatedAt: time.Unix(int64(n), 0), Value: value}), nil
}

// Update implements ledger.Table.
func (t *Table[T]) Update(_ context.Context, r ledger.Record[T]) (ledger.Record[T], error) {
	now, exists := t.Rows[r.Name]
	if !exists || now.Version != r.Version {
		return r, ledger.ErrConflict
	}
	if reflect.DeepEqual(now, r) {
		return r, nil
	}
	return t.Write(r), nil
}

// Delete implements ledger.Table.
func (t *Table[T]) Delete(_ context.Context, r ledger.Record[T]) error {
	now, exists := t.Rows[r.Name]
	if exists && now.Version != r.Version {
		return ledger.ErrConflict
	}
	delete(t.Rows, r.Name)
	return nil
}

// Write replaces whatever is there, as no client of the API server can.
func (t *Table[T]) Write(r ledger.Record[T]) ledger.Record[T] {
	t.Writes++
	r.Version = strconv.Itoa(t.Writes)
	t.Rows[r.Name] = r
	delete(t.Unreadable, r.Name)
	return r
}

// Recreate deletes a record and creates another one under its name, as an admin
// may do behind the allocator's back.
func (t *Table[T]) Recreate(tb testing.TB, name string, value T) {
	tb.Helper()
	delete(t.Rows, name)
	if _, err := t.Create(tb.Context(), name, value); err != nil {
		tb.Fatal(err)
	}
}

// Claims is a ledger.Claims in memory.
type Claims struct{ *Table[ledger.Claim] }

// NewClaims makes an empty table of claims.
func NewClaims() Claims { return Claims{NewTable[ledger.Claim]()} }

// OfPodIP implements ledger.Claims.
func (c Claims) OfPodIP(_ context.Context, ip, _ string) ([]ledger.Record[ledger.Claim], error) {
	return slices.DeleteFunc(c.CachedAll(), func(r ledger.Record[ledger.Claim]) bool { return !r.Value.Records(ip) }), nil
}
