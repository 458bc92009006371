package budget

import "time"

// Other users of the account cause nearly all throttling, because the calls granted
// here fit the limits. So each report cuts the refill, until throttling stops. The
// refill recovers slowly, because nothing tells when the other users are done.
const (
	// cutFactor is what each cut leaves of the refill.
	cutFactor = 3. / 4
	// maxCut leaves an eighth of the refill.
	maxCut = 7. / 8
	// minCutInterval is the shortest time between two cuts. Many agents report the same
	// throttling, one after another.
	minCutInterval = 5 * time.Second
	// recoveryPerSecond is how much of the full refill comes back in a second.
	recoveryPerSecond = 1. / 120
)

// Throttled returns the state after a report that AWS throttled calls. It closes the
// permit of the claim that reported, if there is one. Unless the refill was cut a
// moment ago, it also empties the buckets and cuts the refill. changed tells whether
// there is anything to write.
func Throttled(s State, l Limits, elapsed time.Duration, d Demand, claim string) (next State, changed bool) {
	next = s.After(l, elapsed, d)
	if i := s.findPermit(claim); i >= 0 {
		next, changed = next.withoutPermit(i), true
	}
	if next.SinceCut < minCutInterval.Seconds() {
		if !changed {
			return s, false
		}
		return next, true
	}
	next.Tokens = next.Tokens.atMost(Tokens{})
	next.DeleteReserve, next.DescribeReserve = Tokens{}, 0
	next.Cut = min(1-(1-next.Cut)*cutFactor, maxCut)
	next.SinceCut = 0
	return next, true
}

// refillSeconds is how many seconds of full refill the given time is worth. The cut
// shrinks evenly during that time.
func (s State) refillSeconds(seconds float64) float64 {
	cut := min(max(s.Cut, 0), maxCut)
	shrinks := min(seconds, cut/recoveryPerSecond)
	return seconds - cut*shrinks + recoveryPerSecond*shrinks*shrinks/2
}

// Speed is the fraction of the refill that is used now.
func (s State) Speed() float64 { return 1 - s.Cut }
