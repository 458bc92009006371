// Package ledgermem keeps a ledger in memory, for simulations and tests.
//
// A Store is one kind of record as the API server keeps it: a write is a
// compare-and-swap on the version that was read. A Table is the way of one process
// to a store. Its calls go through a Network, which may delay, lose or refuse
// them, and its cache may be stale.
//
// A test can do what it cannot force on a real API server: make the cache stale, write
// and damage records behind the backs of the processes, and count reads and writes.
//
// The tests of this package hold it to the contract of ledger.Table, with the same
// cases as the Leases of a real API server.
package ledgermem

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Ledger is all records of one installation.
type Ledger struct {
	Claims  *Store[ledger.Claim]
	Ports   *Store[ledger.Port]
	Cordons *Store[ledger.Cordon]
	Budgets *Store[ledger.Budget]
}

// New makes an empty ledger.
func New() *Ledger {
	r := new(revisions)
	return &Ledger{
		Claims: newStore(r, storedClaim), Ports: newStore(r, storedPort),
		Cordons: newStore(r, storedCordon), Budgets: newStore(r, storedBudget),
	}
}

// revisions numbers the writes of all kinds, as etcd does.
type revisions struct {
	mu            sync.Mutex
	last, objects int
}

func (r *revisions) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return r.last
}

func (r *revisions) uid() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects++
	return fmt.Sprintf("lease-uid-%d", r.objects)
}

func storedPort(p ledger.Port) ledger.Port {
	p.UpdatedAt = p.UpdatedAt.UTC().Truncate(time.Microsecond)
	return p
}

func storedClaim(c ledger.Claim) ledger.Claim {
	c.RenewedAt = c.RenewedAt.UTC().Truncate(time.Microsecond)
	c.Duration = c.Duration.Truncate(time.Second)
	c.Requested, c.Ports = slices.Clone(c.Requested), slices.Clone(c.Ports)
	return c
}

func storedCordon(c ledger.Cordon) ledger.Cordon {
	c.UpdatedAt = c.UpdatedAt.UTC().Truncate(time.Microsecond)
	return c
}

func storedBudget(b ledger.Budget) ledger.Budget {
	b.UpdatedAt = b.UpdatedAt.UTC().Truncate(time.Microsecond)
	b.Permits = slices.Clone(b.Permits)
	return b
}
