package httpapi

import (
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/portlease/portlease/allocator/buckets"
	"github.com/portlease/portlease/shared/api"
)

// rateLimit is how much one caller may do: steadily, and at once.
type rateLimit struct {
	perSecond rate.Limit
	burst     int
	// of is what is limited.
	of string
}

// The rate limits are far above the needs of any caller that works as intended, so
// that only broken or malicious ones meet them.
var (
	// A pod of api.MaxPorts ports reports each twice while it binds, beside a
	// handful of other calls. Then it renews every half minute; a waiting one calls
	// once a second at most.
	podRateLimit = rateLimit{5, 2*api.MaxPorts + 20, "calls"}
	// An admin's status page makes two calls every five seconds. Scripts that block,
	// cordon or poll may be quick.
	adminRateLimit = rateLimit{50, 10 * api.MaxPorts, "calls"}
	// Reviews of tokens from one address that are not known to have been valid. A pod
	// needs one whenever the kubelet replaces its token. Accepted ones count too, because
	// they cost the API server as much. A fleet behind one address (a NAT gateway's) gets
	// in at this rate and is free to call from then on.
	reviewRateLimit = rateLimit{20, 200, "new tokens from one address"}
	// Scrapes from one address. Each reads the whole cache, and needs no token.
	metricsRateLimit = rateLimit{5, 50, "scrapes from one address"}
	// Describe calls to AWS for one pod. All pods and the janitor share the account's, and
	// few calls of pods need any: two for each port of a claim whose Leases were lost, and
	// one for a foreign listener on a port.
	describeRateLimit = rateLimit{0.5, 2*api.MaxPorts + 20, "describe calls to AWS"}
)

const (
	// minCallers bounds each table of callers, callersPerPod makes it grow with the
	// fleet. An evicted caller starts with a full bucket.
	minCallers    = 8192
	callersPerPod = 4
)

// limiter holds each caller to a rate limit.
type limiter struct {
	rateLimit
	now     func() time.Time
	buckets *buckets.Table[string]
}

func newLimiter(limit rateLimit, c Config) *limiter {
	size := func() int { return max(minCallers, callersPerPod*c.Fleet()) }
	return &limiter{rateLimit: limit, now: c.Now, buckets: buckets.New[string](limit.perSecond, limit.burst, size)}
}

// perAddress spends one call of the address that a request comes from.
func (l *limiter) perAddress(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		if err := l.take(peerAddress(x)); err != nil {
			return err
		}
		return next(x)
	}
}

// take spends one call of a caller, or tells it when to retry.
func (l *limiter) take(caller string) error { return l.takeN(caller, 1) }

// takeN is take for several calls, all or none.
func (l *limiter) takeN(caller string, n int) error {
	bucket, now := l.buckets.Of(caller), l.now()
	if bucket.AllowN(now, n) {
		return nil
	}
	missing := float64(n) - bucket.TokensAt(now)
	wait := time.Duration(missing / float64(l.perSecond) * float64(time.Second))
	return api.Errorf(api.RateLimited, "more than %d %s at once and %v a second: call less often", l.burst, l.of, l.perSecond).WithRetryAfter(wait)
}
