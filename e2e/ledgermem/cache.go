package ledgermem

import (
	"fmt"
	"strconv"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// event is a change that a watch reports.
type event[T any] struct {
	due     time.Time
	record  ledger.Record[T]
	deleted bool
}

func (t *Table[T]) hear(before, now *ledger.Record[T]) {
	var e event[T]
	if now != nil {
		e.record = t.store.copied(*now)
	} else {
		e.record, e.deleted = t.store.copied(*before), true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lag == nil {
		t.apply(e)
		return
	}
	e.due = time.Now().Add(t.lag())
	if n := len(t.events); n > 0 && t.events[n-1].due.After(e.due) {
		e.due = t.events[n-1].due
	}
	t.events = append(t.events, e)
}

// Deliver lets the cache have the events that are due by now.
func (t *Table[T]) Deliver(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.events) > 0 && !t.events[0].due.After(now) {
		t.apply(t.events[0])
		t.events = t.events[1:]
	}
}

func (t *Table[T]) apply(e event[T]) {
	if e.deleted {
		t.forgetLocked(e.record.Name, e.record.UID)
	} else {
		t.learnLocked(e.record)
	}
}

// CachedAll implements ledger.Table.
func (t *Table[T]) CachedAll() []*ledger.Record[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown().All()
}

// CachedBy implements ledger.Table.
func (t *Table[T]) CachedBy(k ledger.Key) []*ledger.Record[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown().By(k)
}

// Cached implements ledger.Table.
func (t *Table[T]) Cached(name string) (ledger.Record[T], bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown().Get(name)
}

// Follow implements ledger.Table.
func (t *Table[T]) Follow() func() ledger.Changes {
	var followed *ledger.Index[T]
	var changes func() ledger.Changes
	return func() ledger.Changes {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.shown() != followed { // Freeze and Thaw change any record
			followed = t.shown()
			changes = followed.Follow()
		}
		return changes()
	}
}

// shown is what the cache shows. The caller holds the lock.
func (t *Table[T]) shown() *ledger.Index[T] {
	if t.frozen != nil {
		return t.frozen
	}
	return t.cache
}

// Hide takes a record out of the cache, as if it had not arrived yet. It comes back
// when the process reads or writes it, or hears of another write.
func (t *Table[T]) Hide(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cache.Remove(name)
}

// Show puts an older version of a record into the cache, as if the newer had not
// arrived yet, or its deletion. Version "0" is older than any write.
func (t *Table[T]) Show(old ledger.Record[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cache.Put(old)
}

// Freeze lets the cache show these records and no others, whatever is read or
// written, until Thaw.
func (t *Table[T]) Freeze(records ...ledger.Record[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frozen = ledger.NewIndex[T]()
	for _, r := range records {
		t.frozen.Put(r)
	}
}

// FreezeNow lets the cache go on to show what it shows now, until Thaw.
func (t *Table[T]) FreezeNow() {
	var shown []ledger.Record[T]
	for _, r := range t.CachedAll() {
		shown = append(shown, *r)
	}
	t.Freeze(shown...)
}

// Thaw ends Freeze.
func (t *Table[T]) Thaw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frozen = nil
}

func (t *Table[T]) learn(r ledger.Record[T]) ledger.Record[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.learnLocked(r)
	return r
}

// learnLocked puts a record into the cache unless something newer is there.
func (t *Table[T]) learnLocked(r ledger.Record[T]) {
	if t.tombstones[r.UID] {
		return
	}
	if known, ok := t.cache.Get(r.Name); !ok || revision(r.Version) > revision(known.Version) {
		t.cache.Put(r)
	}
}

func (t *Table[T]) forget(name, uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(name, uid)
}

// forgetLocked takes a deleted record out of the cache.
func (t *Table[T]) forgetLocked(name, uid string) {
	if uid == "" {
		return
	}
	t.tombstones[uid] = true
	if known, _ := t.cache.Get(name); known.UID == uid {
		t.cache.Remove(name)
	}
}

// revision reads a version of a store, which is always a number.
func revision(version string) int {
	n, err := strconv.Atoi(version)
	if err != nil {
		panic(fmt.Sprintf("version %q is not of this ledger", version))
	}
	return n
}
