package sim

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// mostDrift is how many percent a process's monotonic clock is too fast or too
// slow at most: far more than any real one.
const mostDrift = 3

// clock is one process's own. Its monotonic part goes at a rate of its own and
// may stand still; its wall part may jump to any time as well.
type clock struct {
	start time.Time
	// rate is how much time it counts in one second.
	rate float64

	mu sync.Mutex // guards all below
	// stood is for how long it did not go on.
	stood time.Duration
	// skew is by how much the wall clock is wrong.
	skew time.Duration
}

func newClock(r *rand.Rand) *clock {
	return &clock{start: time.Now(), rate: 1 + mostDrift*(2*r.Float64()-1)/100, skew: time.Duration(r.IntN(240)-120) * time.Second}
}

// now is the monotonic clock.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start.Add(time.Duration(float64(time.Since(c.start)-c.stood) * c.rate))
}

// wall is what only people should have to trust.
func (c *clock) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

// real is how long it takes this clock to count d; a little more, because no timer
// is early.
func (c *clock) real(d time.Duration) time.Duration {
	return time.Duration(float64(d)/c.rate) + time.Microsecond
}

// timeout is context.WithTimeout by this clock.
func (c *clock) timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.real(d))
}

// jump sets the wall clock wrong by so much.
func (c *clock) jump(skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = skew
}

// stand has the monotonic clock not have gone on for d, as one does while its
// machine is suspended.
func (c *clock) stand(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stood += d
}
