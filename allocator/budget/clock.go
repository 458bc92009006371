package budget

import "time"

// Clock tells one replica how much refill a State does not count yet.
//
// State.Counted is how much time all replicas together have counted as refill
// since the Lease was made. It is never more than the time that has really passed.
// A replica that has seen a State may count the time that its own clock measures
// since then. That alone is safe, but each change would lose the time that the
// write took to reach this replica. So a Clock remembers the most by which Counted
// was ahead of its own clock and makes up for such losses, up to maxCatchUp.
// Larger losses are final: a bucket may have been full meanwhile, and time that it
// could not hold must not be counted later.
//
// A replica whose clock is slow or stands still, or that sees changes late, counts
// too little. It loses at most the refill since the previous change. The zero value
// has seen nothing. All times are readings of the replica's own monotonic clock,
// from any zero point.
type Clock struct {
	seen bool
	// ahead is by how much Counted is ahead of the replica's clock, at least.
	ahead time.Duration
}

// maxCatchUp is less than slack, so that grants stay below AWS's burst.
const maxCatchUp = slack / 2

// Saw records that a State was first seen now. A replica that wrote the State
// passes the time before it sent the write.
func (c *Clock) Saw(counted, now time.Duration) {
	ahead := counted - now
	if !c.seen {
		c.seen, c.ahead = true, ahead
		return
	}
	c.ahead = min(max(c.ahead, ahead), ahead+maxCatchUp)
}

// Elapsed returns the time that a State does not count yet. Saw must have been
// called for that State.
func (c *Clock) Elapsed(counted, now time.Duration) time.Duration {
	if !c.seen {
		return 0
	}
	return max(c.ahead+now-counted, 0)
}
