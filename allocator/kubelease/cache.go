package kubelease

import (
	"strconv"
	"sync"

	"github.com/portlease/portlease/allocator/ledger"
)

// cache is what this process has seen of one kind of record, by the watch and by its
// own calls. A record never goes back to an older version.
type cache[T any] struct {
	mu      sync.Mutex
	records *ledger.Index[T]
	deleted tombstones
}

// CachedAll implements ledger.Table.
func (c *cache[T]) CachedAll() []*ledger.Record[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.All()
}

// CachedBy implements ledger.Table.
func (c *cache[T]) CachedBy(k ledger.Key) []*ledger.Record[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.By(k)
}

// Cached implements ledger.Table.
func (c *cache[T]) Cached(name string) (ledger.Record[T], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.Get(name)
}

// Follow implements ledger.Table.
func (c *cache[T]) Follow() func() ledger.Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := c.records.Follow()
	return func() ledger.Changes {
		c.mu.Lock()
		defer c.mu.Unlock()
		return changes()
	}
}

// put adds a record unless the cache has a newer version or knows that it was deleted.
func (c *cache[T]) put(r ledger.Record[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deleted.has(r.UID, r.Version) {
		return
	}
	if known, ok := c.records.Get(r.Name); !ok || newer(r.Version, known.Version) {
		c.records.Put(r)
	}
}

// remove removes a deleted record. UIDs are never reused, so a record of the same name
// with another UID stays.
func (c *cache[T]) remove(name, uid, version string) {
	if uid == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deleted.add(uid, version)
	if known, _ := c.records.Get(name); known.UID == uid && c.deleted.has(uid, known.Version) {
		c.records.Remove(name)
	}
}

// removeExcept removes the records that a list of all Leases of a version does not have,
// by UID, and returns how many. A record that is newer than the list stays.
func (c *cache[T]) removeExcept(listed map[string]bool, version string) (removed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records.All() {
		if !listed[r.UID] && !newer(r.Version, version) {
			c.deleted.add(r.UID, version)
			c.records.Remove(r.Name)
			removed++
		}
	}
	return removed
}

// newer compares resource versions, which are growing integers (KEP-5504).
func newer(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if errX != nil || errY != nil {
		return a != b
	}
	return x > y
}
