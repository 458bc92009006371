package httpapi

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/portlease/portlease/shared/api"
)

// rateLimit is how often one caller may call: steadily, and at once.
type rateLimit struct {
	perSecond rate.Limit
	burst     int
}

// The rate limits are far above the needs of any caller that works as intended, so
// that only broken or malicious ones meet them.
var (
	// A pod of api.MaxPorts ports reports each twice while it binds, beside a
	// handful of other calls. Then it renews every half minute; a waiting one calls
	// once a second at most.
	podRateLimit = rateLimit{5, 2*api.MaxPorts + 20}
	// An admin's status page makes two calls every five seconds. Scripts that block,
	// cordon or poll may be quick.
	adminRateLimit = rateLimit{50, 10 * api.MaxPorts}
	// Rejected tokens of one address. Only those count, so any number of pods behind
	// one address (a node's, a NAT gateway's) is free to call, and a neighbor that
	// guesses tokens does not delay tokens that were valid before. It can only delay
	// new pods at its own address.
	unauthenticatedRateLimit = rateLimit{10, 100}
)

// maxCallers bounds each table of callers to more than the pods of the biggest
// fleet. An evicted caller starts with a full bucket.
const maxCallers = 8192

// limiter holds each caller to a rate limit.
type limiter struct {
	rateLimit
	now func() time.Time
	// buckets is caller → its token bucket.
	buckets *lru.Cache[string, *rate.Limiter]
}

func newLimiter(limit rateLimit, now func() time.Time) *limiter {
	buckets, err := lru.New[string, *rate.Limiter](maxCallers)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &limiter{rateLimit: limit, now: now, buckets: buckets}
}

// take spends one call of a caller, or tells it when to retry.
func (l *limiter) take(caller string) error {
	bucket, now := l.bucket(caller), l.now()
	if bucket.AllowN(now, 1) {
		return nil
	}
	return l.limited(bucket, now)
}

// check is take without spending a call.
func (l *limiter) check(caller string) error {
	bucket, known := l.buckets.Get(caller)
	now := l.now()
	if !known || bucket.TokensAt(now) >= 1 {
		return nil
	}
	return l.limited(bucket, now)
}

func (l *limiter) bucket(caller string) *rate.Limiter {
	if bucket, known := l.buckets.Get(caller); known {
		return bucket
	}
	bucket := rate.NewLimiter(l.perSecond, l.burst)
	if other, found, _ := l.buckets.PeekOrAdd(caller, bucket); found {
		return other // a concurrent call of this caller was first
	}
	return bucket
}

func (l *limiter) limited(bucket *rate.Limiter, now time.Time) error {
	missing := 1 - bucket.TokensAt(now)
	wait := time.Duration(missing / float64(l.perSecond) * float64(time.Second))
	return api.Errorf(api.RateLimited, "more than %d calls at once and %v a second: call less often", l.burst, l.perSecond).WithRetryAfter(wait)
}
