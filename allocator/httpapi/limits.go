package httpapi

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/portlease/portlease/shared/api"
)

// budget is how often somebody may do something: steadily, and at once.
type budget struct {
	perSecond rate.Limit
	burst     int
}

// The budgets of callers. They are far above what anybody needs who works as
// intended, so that only what is broken or means harm meets them.
var (
	// A pod of api.MaxPorts ports reports each twice while it binds, beside a
	// handful of other calls. Then it renews every half minute; one that waits asks
	// every second at most.
	podBudget = budget{5, 2*api.MaxPorts + 20}
	// A person's status page makes two calls every five seconds; a script that
	// blocks, cordons or waits for a state may be quick.
	personBudget = budget{50, 10 * api.MaxPorts}
	// Failed proofs of one address. Only those count, so any number of pods behind
	// one address (a node's, a NAT gateway's) is free to call; and tokens that were
	// good before are not held up by a neighbor who guesses. What is left to such a
	// neighbor is to hold up pods that come new to that very address.
	strangerBudget = budget{10, 100}
)

// callersKept bounds each table of callers: more than the pods of the biggest
// fleet. A caller who is forgotten starts with a full budget, so whoever can be
// many callers can do more; but pods and users are proven ones.
const callersKept = 8192

// limiter keeps callers to a budget each.
type limiter struct {
	budget
	now func() time.Time

	mu sync.Mutex
	// buckets is caller → what is left to it.
	buckets *recent[string, *rate.Limiter]
}

func newLimiter(b budget, now func() time.Time) *limiter {
	return &limiter{budget: b, now: now, buckets: newRecent[string, *rate.Limiter](callersKept)}
}

// take spends one call of a caller, or tells it when to come again.
func (l *limiter) take(caller string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	bucket := l.bucketLocked(caller)
	if bucket.AllowN(now, 1) {
		return nil
	}
	return l.later(bucket, now)
}

// left tells whether a caller has a call left, and spends none.
func (l *limiter) left(caller string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	bucket, known := l.buckets.get(caller)
	if !known || bucket.TokensAt(now) >= 1 {
		return nil
	}
	return l.later(bucket, now)
}

func (l *limiter) bucketLocked(caller string) *rate.Limiter {
	bucket, known := l.buckets.get(caller)
	if !known {
		bucket = rate.NewLimiter(l.perSecond, l.burst)
		l.buckets.put(caller, bucket)
	}
	return bucket
}

func (l *limiter) later(bucket *rate.Limiter, now time.Time) error {
	missing := 1 - bucket.TokensAt(now)
	wait := time.Duration(missing / float64(l.perSecond) * float64(time.Second))
	return api.Errorf(api.RateLimited, "more than %d calls at once and %v a second: ask less often", l.burst, l.perSecond).WithRetryAfter(wait)
}
