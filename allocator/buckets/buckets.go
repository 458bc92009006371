// Package buckets holds a token bucket for each of many callers, in bounded memory.
package buckets

import (
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Table has the buckets, by caller. The caller that was seen the longest ago is evicted
// first, and starts with a full bucket if it comes back. It is safe for concurrent use.
type Table[Caller comparable] struct {
	perSecond rate.Limit
	burst     int
	// size gives how many buckets there may be now.
	size    func() int
	buckets *lru.Cache[Caller, *rate.Limiter]
}

// New makes a table whose buckets hold burst tokens and are refilled with perSecond tokens
// a second. size gives at any time how many callers it remembers, at least 1.
func New[Caller comparable](perSecond rate.Limit, burst int, size func() int) *Table[Caller] {
	buckets, err := lru.New[Caller, *rate.Limiter](size())
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Table[Caller]{perSecond: perSecond, burst: burst, size: size, buckets: buckets}
}

// Of returns the bucket of a caller. A new one is full.
func (t *Table[Caller]) Of(c Caller) *rate.Limiter {
	if bucket, known := t.buckets.Get(c); known {
		return bucket
	}
	t.buckets.Resize(t.size())
	bucket := rate.NewLimiter(t.perSecond, t.burst)
	if other, found, _ := t.buckets.PeekOrAdd(c, bucket); found {
		return other // a concurrent call of this caller was first
	}
	return bucket
}
