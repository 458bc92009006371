package ledger

import (
	"context"
	"errors"
	"time"
)

// Record is one row of a table, with what compare-and-swap needs.
type Record[T any] struct {
	// Name of the Lease.
	Name string
	// UID of the Lease object. It differs if the Lease was deleted and created again.
	UID string
	// Version is opaque and changes with every write.
	Version string
	// CreatedAt is the API server's time in whole seconds. It orders claims in the same
	// way for all replicas. No decision compares it with a clock.
	CreatedAt time.Time
	Value     T
}

// Exists reports whether the record is in the table. One that is about to be
// created has no version yet.
func (r Record[T]) Exists() bool { return r.Version != "" }

// Errors of a Table. After any other error the outcome is unknown: read before acting
// again.
var (
	// ErrConflict means that another writer was first, or that the record exists
	// already (Create) or is gone (Update): read and decide again.
	ErrConflict = errors.New("the record has changed meanwhile")
	// ErrAbsent means that there is no record of that name.
	ErrAbsent = errors.New("no such record")
	// ErrUnreadable means that a record exists and cannot be read. It must not be
	// changed before an admin has repaired it. The cache has it with the zero Value.
	ErrUnreadable = errors.New("the record cannot be read")
)

// Table is one kind of record. Create, Update and Delete are compare-and-swap: of
// several concurrent callers one succeeds and the others get ErrConflict. An Update
// that changes nothing is no write, succeeds, and keeps the version. The times in the
// records make every write a change.
type Table[T any] interface {
	// CachedAll returns what this process has seen so far, oldest first: its own writes, and
	// those of others that it was told of. It may be stale. It copies nothing, and returns
	// the same slice until a record changes. Nobody may change the records.
	CachedAll() []*Record[T]
	// CachedBy is CachedAll for the records with a key.
	CachedBy(k Key) []*Record[T]
	// Cached returns one record of the cache.
	Cached(name string) (Record[T], bool)
	// Follow returns a function that returns what has changed in the cache since its last
	// call.
	Follow() func() Changes
	// Get is a fresh read: it sees every write that succeeded before.
	Get(ctx context.Context, name string) (Record[T], error)
	Create(ctx context.Context, name string, value T) (Record[T], error)
	Update(ctx context.Context, r Record[T]) (Record[T], error)
	// Delete removes exactly the version that was read. An absent record is success.
	Delete(ctx context.Context, r Record[T]) error
}

// Put writes a record that was read. It creates one that was absent, which has the zero
// Version of a failed Get or Cached.
func Put[T any](ctx context.Context, t Table[T], name string, r Record[T]) (Record[T], error) {
	if !r.Exists() {
		return t.Create(ctx, name, r.Value)
	}
	return t.Update(ctx, r)
}

// Claims is the table of claims.
type Claims interface {
	Table[Claim]
	// OfPodIP reads all claims that record this pod IP, as the present or the previous
	// one. It sees every write before the one that returned the version since, and may
	// miss later ones. A read of the newest state would wait: the API server answers
	// lists from its cache, and learns only ten times a second that nothing of its kind
	// was written while others were (KEP-2340).
	OfPodIP(ctx context.Context, ip, since string) ([]Record[Claim], error)
	// OfNamespace reads all claims of a namespace's pods. It sees what OfPodIP sees.
	OfNamespace(ctx context.Context, namespace, since string) ([]Record[Claim], error)
}

// Ports is the table of ports.
type Ports = Table[Port]

// Cordons is the table of cordons.
type Cordons = Table[Cordon]

// Budgets is the table of the one AWS budget.
type Budgets = Table[Budget]
