package janitor_test

import (
	"context"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/ledger/ledgertest"
)

// cacheTable is a table whose cache may differ from the truth.
type cacheTable[T any] struct {
	*ledgertest.Table[T]
	// seen is the cache if it is stale. fails is the error of every read; nil for none.
	seen  []ledger.Record[T]
	stale bool
	fails error
}

func (s *cacheTable[T]) CachedAll() []ledger.Record[T] {
	if s.stale {
		return slices.Clone(s.seen)
	}
	return s.Table.CachedAll()
}

func (s *cacheTable[T]) Cached(name string) (ledger.Record[T], bool) {
	if !s.stale {
		return s.Table.Cached(name)
	}
	for _, r := range s.seen {
		if r.Name == name {
			return r, true
		}
	}
	return ledger.Record[T]{}, false
}

func (s *cacheTable[T]) Get(ctx context.Context, name string) (ledger.Record[T], error) {
	if s.fails != nil {
		return ledger.Record[T]{}, s.fails
	}
	return s.Table.Get(ctx, name)
}

// shows freezes the cache with these records, whatever is written.
func (s *cacheTable[T]) shows(records ...ledger.Record[T]) { s.stale, s.seen = true, records }

type cacheClaims struct{ *cacheTable[ledger.Claim] }

// OfPodIP implements ledger.Claims.
func (s cacheClaims) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	return ledgertest.Claims{Table: s.Table}.OfPodIP(ctx, ip, since)
}
