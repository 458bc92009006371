package ledger

import (
	"context"
	"errors"
	"time"
)

// Record is one row of a table with what compare-and-swap needs.
type Record[T any] struct {
	// Name of the Lease.
	Name string
	// UID of the Lease object: another one under the same name differs.
	UID string
	// Version is opaque and changes with every write.
	Version string
	// CreatedAt is the API server's time in whole seconds. It puts claims in an
	// order that is the same for all; nothing compares it with a clock.
	CreatedAt time.Time
	Value     T
}

// Exists reports whether the record is in the table. One that is about to be
// created has no version yet.
func (r Record[T]) Exists() bool { return r.Version != "" }

// Errors of a Table. Any other error means that the outcome is unknown: read
// before acting again.
var (
	// ErrConflict means that somebody else wrote first, or that the record is
	// there already (Create) or gone (Update): read again, decide again.
	ErrConflict = errors.New("the record has changed meanwhile")
	// ErrAbsent means that there is no record of that name.
	ErrAbsent = errors.New("no such record")
	// ErrUnreadable means that a record exists and cannot be read. It must not be
	// changed before an admin has repaired it. The cache has it with the zero Value.
	ErrUnreadable = errors.New("the record cannot be read")
)

// Table is one kind of record. Create, Update and Delete are compare-and-swap:
// of several concurrent callers one succeeds and the others get ErrConflict. An
// Update that changes nothing is no write, succeeds and keeps the version; the
// times in the records are there to make every write a change.
type Table[T any] interface {
	// CachedAll is what this process has seen so far: its own writes and what it was
	// told of the others', which may be late. The records are shared: do not
	// change what they point to.
	CachedAll() []Record[T]
	// Cached is one record of the view.
	Cached(name string) (Record[T], bool)
	// Get is a consistent read: it sees every write that had succeeded before.
	Get(ctx context.Context, name string) (Record[T], error)
	Create(ctx context.Context, name string, value T) (Record[T], error)
	Update(ctx context.Context, r Record[T]) (Record[T], error)
	// Delete removes exactly the version that was read; an absent one is success.
	Delete(ctx context.Context, r Record[T]) error
}

// Put writes a record that was read, or creates it if it was absent then: with
// the zero Version that a failed Get or Cached leaves behind.
func Put[T any](ctx context.Context, t Table[T], name string, r Record[T]) (Record[T], error) {
	if !r.Exists() {
		return t.Create(ctx, name, r.Value)
	}
	return t.Update(ctx, r)
}

// Claims is the table of claims.
type Claims interface {
	Table[Claim]
	// OfPodIP reads all claims that record this pod IP, as the present or the former
	// one. It sees every write before the one that gave the version since, and may
	// miss later ones. A read of what is newest would wait: the API server answers
	// lists from its cache, which hears only ten times a second that nothing of its
	// kind was written while others were (KEP-2340).
	OfPodIP(ctx context.Context, ip, since string) ([]Record[Claim], error)
}

// Ports is the table of ports.
type Ports = Table[Port]

// Cordons is the table of what people say of load balancers.
type Cordons = Table[Cordon]

// Budgets is the table of the one AWS budget.
type Budgets = Table[Budget]
