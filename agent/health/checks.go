package health

import "time"

const (
	// missedChecks is how many health checks in a row must be missing before they count as
	// stopped.
	missedChecks = 3
	// leastSilence is how long they must be missing however often they come.
	leastSilence = 30 * time.Second
)

// Checks follows the health checks that the load balancer sends to the agent. The zero
// value expects none. It is for one goroutine.
type Checks struct {
	interval time.Duration
	// last is when one arrived; zero if none has since Expect. A load balancer may need
	// minutes to start.
	last time.Time
}

// Expect starts over: the load balancer checks at this interval; 0 if it does not check
// the agent.
func (c *Checks) Expect(interval time.Duration) { *c = Checks{interval: interval} }

// Arrived notes a health check.
func (c *Checks) Arrived(now time.Time) { c.last = now }

// Stopped reports whether health checks came, and come no more.
func (c *Checks) Stopped(now time.Time) bool {
	if c.interval == 0 || c.last.IsZero() {
		return false
	}
	return now.Sub(c.last) > max(missedChecks*c.interval, leastSilence)
}
