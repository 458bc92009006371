package budget

import "time"

// Clock is how one replica reckons the refill of one Lease.
//
// State.Counted is how much time all replicas together have counted as refill
// since the Lease was made, which is never more than has really passed. Whoever
// has seen a State may count what its own clock adds since then; that alone would
// be safe, and would lose at every change the time that the write and the view
// of it took. So a replica remembers by how much Counted was ahead of its own
// clock at best, and makes up for such losses, up to catchUp: more is lost for
// good, because meanwhile a bucket may have been full, and what it could not hold
// must not be counted later.
//
// A replica whose clock is slow, stands still or was seen late counts too little
// and thereby loses at most what was refilled since the change before. The zero
// value has seen nothing. Times are readings of the replica's own monotonic
// clock, from any zero point.
type Clock struct {
	seen bool
	// ahead is how far Counted is ahead of the replica's clock, at least.
	ahead time.Duration
}

// catchUp is less than slack, which keeps it below AWS's burst.
const catchUp = slack / 2

// Saw notes that a State was seen for the first time just then; by its writer, at
// the time before it sent the write.
func (c *Clock) Saw(counted, now time.Duration) {
	fresh := counted - now
	if !c.seen {
		c.seen, c.ahead = true, fresh
		return
	}
	c.ahead = min(max(c.ahead, fresh), fresh+catchUp)
}

// Elapsed is how much time was not counted yet in a State that was seen.
func (c *Clock) Elapsed(counted, now time.Duration) time.Duration {
	if !c.seen {
		return 0
	}
	return max(c.ahead+now-counted, 0)
}
