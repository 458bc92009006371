package sim

import (
	"cmp"
	"container/heap"
	"time"
)

// queue has things in the order in which they are due.
type queue[T any] struct {
	all    []T
	before func(a, b T) bool
	// moved is called with the new place of a thing, -1 once it has left.
	moved func(one T, place int)
}

// Len implements heap.Interface.
func (q *queue[T]) Len() int { return len(q.all) }

// Less implements heap.Interface.
func (q *queue[T]) Less(i, j int) bool { return q.before(q.all[i], q.all[j]) }

// Swap implements heap.Interface.
func (q *queue[T]) Swap(i, j int) {
	q.all[i], q.all[j] = q.all[j], q.all[i]
	q.moved(q.all[i], i)
	q.moved(q.all[j], j)
}

// Push implements heap.Interface.
func (q *queue[T]) Push(x any) {
	one, _ := x.(T)
	q.all = append(q.all, one)
	q.moved(one, len(q.all)-1)
}

// Pop implements heap.Interface.
func (q *queue[T]) Pop() any {
	last := len(q.all) - 1
	one := q.all[last]
	var none T
	q.all[last] = none
	q.all = q.all[:last]
	q.moved(one, -1)
	return one
}

// first is what is due first; false if there is nothing.
func (q *queue[T]) first() (one T, ok bool) {
	if len(q.all) == 0 {
		return one, false
	}
	return q.all[0], true
}

func (q *queue[T]) add(one T) { heap.Push(q, one) }

// remove takes out what is at a place.
func (q *queue[T]) remove(place int) { heap.Remove(q, place) }

// timer is something that the scheduler's goroutine runs at a time.
type timer struct {
	at    time.Time
	order int
	run   func()
}

func newTimers() queue[timer] {
	return queue[timer]{
		before: func(a, b timer) bool { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order)) < 0 },
		moved:  func(timer, int) {},
	}
}

func newCalls() queue[*call] {
	return queue[*call]{
		before: func(a, b *call) bool { return cmp.Or(a.due.Compare(b.due), byName(a, b)) < 0 },
		moved:  func(c *call, place int) { c.place = place },
	}
}

// byName orders calls by what does not depend on goroutines.
func byName(a, b *call) int {
	return cmp.Or(cmp.Compare(a.process.name, b.process.name), cmp.Compare(a.thread, b.thread), cmp.Compare(a.seq, b.seq))
}
