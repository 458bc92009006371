package ledgermem

import "github.com/portlease/portlease/allocator/ledger"

// The writes in this file are those of an admin: behind the back of all processes,
// and whatever the version of a record is.

// Change writes to a row. It adds the row if there is none.
func (s *Store[T]) Change(name string, change func(*T)) ledger.Record[T] {
	s.writing.Lock()
	defer s.writing.Unlock()
	before, exists := s.Row(name)
	now := s.copied(before)
	change(&now.Value)
	if exists {
		return s.put(&before, now)
	}
	return s.create(name, now.Value)
}

// Remove deletes a row, if there is one.
func (s *Store[T]) Remove(name string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.remove(name)
}

func (s *Store[T]) remove(name string) {
	if before, exists := s.Row(name); exists {
		s.written(name, s.revisions.next(), &before, nil)
	}
}

// Recreate deletes a row, if there is one, and creates another under its name.
func (s *Store[T]) Recreate(name string, value T) ledger.Record[T] {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.remove(name)
	return s.create(name, value)
}

// Damage makes a row unreadable until somebody writes it again. A list by pod IP then
// leaves a claim out; with real Leases it fails.
func (s *Store[T]) Damage(name string) {
	s.Change(name, func(value *T) { *value = *new(T) })
}
