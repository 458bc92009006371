package sim

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// maxDrift is by how many percent a process's monotonic clock may be too fast or too
// slow: far more than a real one.
const maxDrift = 3

// clock is the clock of one process. Its monotonic part runs at its own rate and may
// stand still. Its wall part may also jump.
type clock struct {
	start time.Time
	// rate is how much time it counts in one second.
	rate float64

	mu sync.Mutex // guards all below
	// stood is for how long it stood still.
	stood time.Duration
	// skew is by how much the wall clock is wrong.
	skew time.Duration
}

func newClock(r *rand.Rand) *clock {
	return &clock{start: time.Now(), rate: 1 + maxDrift*(2*r.Float64()-1)/100, skew: time.Duration(r.IntN(240)-120) * time.Second}
}

// now is the monotonic clock.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start.Add(time.Duration(float64(time.Since(c.start)-c.stood) * c.rate))
}

// wall is the wall clock. No decision may depend on it.
func (c *clock) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

// real is how long this clock takes to count d, and a little more: no timer fires
// early.
func (c *clock) real(d time.Duration) time.Duration {
	return time.Duration(float64(d)/c.rate) + time.Microsecond
}

// timeout is context.WithTimeout by this clock.
func (c *clock) timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.real(d))
}

// jump makes the wall clock wrong by skew.
func (c *clock) jump(skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = skew
}

// stand makes the monotonic clock miss d, as on a machine that was suspended.
func (c *clock) stand(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stood += d
}
