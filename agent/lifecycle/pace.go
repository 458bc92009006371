package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Pauses between tries. A thousand agents may start at once, so each pause is
// spread by up to a quarter.
const (
	firstPause = time.Second
	mostPause  = 15 * time.Second
	// slowPause follows what only a person can mend.
	slowPause = time.Minute
	// longestRetryAfter bounds what an answer may ask for.
	longestRetryAfter = 5 * time.Minute
)

// pace says how long to wait before each next try.
type pace struct{ tries int }

func (p *pace) next(err error, jitter func() float64) time.Duration {
	if problem, ok := errors.AsType[*api.Problem](err); ok && problem.Code == api.Exhausted && problem.RetryAfter > 0 {
		// The allocator puts those who wait in an order; who came at times of its own
		// would only be told to wait again.
		d := min(problem.RetryAfter, longestRetryAfter)
		return d + time.Duration(jitter()*float64(d)/10)
	}
	d := min(firstPause<<min(p.tries, 10), mostPause)
	p.tries++
	if needsPerson(err) {
		d = slowPause
	}
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		d = max(d, min(problem.RetryAfter, longestRetryAfter))
	}
	return d + time.Duration(jitter()*float64(d)/4)
}

// needsPerson tells whether asking again soon is pointless.
func needsPerson(err error) bool {
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		switch problem.Code {
		case api.Invalid, api.Forbidden, api.Unauthenticated, api.Malformed, api.NotFound, api.MethodNotAllowed, api.TooLarge:
			return true
		case api.Lost, api.Exhausted, api.Releasing, api.Pending, api.RateLimited, api.Unavailable, api.Internal:
			return false
		}
		return false
	}
	for _, kind := range []error{errForeign, elb.ErrDenied, elb.ErrRefused, elb.ErrDifferent} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// pause waits and lets the liveness probe see that this is no standstill.
func (a *Agent) pause(ctx context.Context, d time.Duration) error {
	a.status.moved(a.Clock.Now(), d)
	return a.Clock.Sleep(ctx, d)
}

// complain logs a failure where its handling ends: it will be tried again.
func (a *Agent) complain(ctx context.Context, what string, err error, fields ...any) {
	a.Metrics.failed(err)
	fields = append(fields, "err", err)
	if needsPerson(err) {
		a.Log.ErrorContext(ctx, what, fields...) //nolint:sloglint // what is a constant of each caller
		return
	}
	a.Log.WarnContext(ctx, what, fields...) //nolint:sloglint // what is a constant of each caller
}
