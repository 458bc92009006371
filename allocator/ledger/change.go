package ledger

import (
	"context"
	"errors"
	"reflect"
)

// ErrContended means that other writers won every compare-and-swap of a change.
// Nothing was written; the caller may try again later.
var ErrContended = errors.New("too many concurrent writes to this record; try again")

// maxAttempts bounds how often a change is decided. Each lost attempt means that
// another writer succeeded, so only a crowd of writers can reach it.
const maxAttempts = 50

// Decide returns what a record should become: the next value and write, or why
// not. It may be called several times, with newer versions of the record, and must
// not modify what r points to.
type Decide[T any] func(r Record[T]) (next T, write bool, err error)

// Change applies decide to an existing record by compare-and-swap. It starts from
// the cache, which may be stale, and reads the record again after a conflict.
//
// If decide refuses, or leaves the record alone, Change first repeats the decision
// on a fresh read: a stale record is good enough for a write that succeeds, and for
// nothing else.
//
// Change returns the record as it is now and whether this call wrote it. Besides
// the errors of decide and of the table, which are returned as they are, it fails
// with ErrAbsent, ErrUnreadable, or ErrContended.
func Change[T any](ctx context.Context, t Table[T], name string, decide Decide[T]) (r Record[T], wrote bool, err error) {
	cached, exists := t.Cached(name)
	fresh := !exists || unreadable(cached)
	if fresh {
		if cached, err = t.Get(ctx, name); err != nil {
			return cached, false, err
		}
	}
	return change(ctx, t, cached, fresh, false, decide)
}

// CreateOrChange is Change for a record that need not exist. Decide then gets a
// record without a version; to write it is to create it.
func CreateOrChange[T any](ctx context.Context, t Table[T], name string, decide Decide[T]) (r Record[T], wrote bool, err error) {
	cached, exists := t.Cached(name)
	if !exists || unreadable(cached) {
		cached = Record[T]{Name: name}
	}
	return change(ctx, t, cached, false, true, decide)
}

// unreadable reports whether the cache has a record that cannot be read.
func unreadable[T any](cached Record[T]) bool { return reflect.ValueOf(&cached.Value).Elem().IsZero() }

// ChangeFrom is Change for a caller that has just read or written the record. The
// first decision on it is final unless it leads to a write that conflicts.
func ChangeFrom[T any](ctx context.Context, t Table[T], r Record[T], decide Decide[T]) (now Record[T], wrote bool, err error) {
	return change(ctx, t, r, true, false, decide)
}

func change[T any](ctx context.Context, t Table[T], r Record[T], fresh, create bool, decide Decide[T]) (Record[T], bool, error) {
	for range maxAttempts {
		next, write, err := decide(r)
		if err == nil && write {
			changed := r
			changed.Value = next
			if changed, err = Put(ctx, t, r.Name, changed); err == nil {
				return changed, true, nil
			}
			if !errors.Is(err, ErrConflict) {
				return r, false, err
			}
		} else if fresh {
			return r, false, err
		}
		name := r.Name
		r, err = t.Get(ctx, name)
		if create && errors.Is(err, ErrAbsent) {
			r, err = Record[T]{Name: name}, nil
		}
		if err != nil {
			return r, false, err
		}
		fresh = true
	}
	return r, false, ErrContended
}
