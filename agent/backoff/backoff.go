// Package backoff says how long the agent waits between attempts.
package backoff

import (
	"errors"
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/shared/api"
)

const (
	first = time.Second
	most  = 15 * time.Second
	// mostCredentials is the longest wait for credentials. One service on each node, or one
	// for the account, issues them to all agents.
	mostCredentials = time.Minute
	// needsAdmin is the wait after an error that only an admin can resolve.
	needsAdmin = time.Minute
	// mostRetryAfter bounds the wait that an answer of the allocator asks for.
	mostRetryAfter = 5 * time.Minute
)

// Backoff doubles the wait with each attempt. The zero value is before the first attempt.
type Backoff struct{ attempts int }

// Next is how long to wait after an attempt failed with err. jitter gives numbers
// in [0,1).
func (b *Backoff) Next(err error, jitter func() float64) time.Duration {
	problem, answered := errors.AsType[*api.Problem](err)
	if answered && problem.Code == api.Exhausted && problem.RetryAfter > 0 {
		// The allocator serves waiting claims in order. A claim that comes at another
		// time than it was told would only be told to wait again.
		d := min(problem.RetryAfter, mostRetryAfter)
		return clock.SlightlyAbove(d, jitter)
	}
	doubled := first << min(b.attempts, 10)
	b.attempts++
	if failure.Class(err) == failure.AWSCredentials {
		return clock.Widely(min(doubled, mostCredentials), jitter)
	}
	d := min(doubled, most)
	if failure.NeedsAdmin(err) {
		d = needsAdmin
	}
	if answered {
		d = max(d, min(problem.RetryAfter, mostRetryAfter))
	}
	return clock.Above(d, jitter)
}

// RetryAfter is a wait in seconds that the allocator asks for, bounded.
func RetryAfter(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, 0), mostRetryAfter.Seconds()) * float64(time.Second))
}
