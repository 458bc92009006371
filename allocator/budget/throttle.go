package budget

import "time"

// Throttling is nearly always the doing of others: what is paid for here fits.
// So the refill is cut until it no longer happens, and creeps back, because
// nobody says when the others are done.
const (
	// keptByCut is what each cut leaves of the refill.
	keptByCut = 3. / 4
	// mostCut leaves an eighth.
	mostCut = 7. / 8
	// cutPause is the least time between two cuts: reports of one throttling come
	// from many agents and one after another.
	cutPause = 5 * time.Second
	// recovery is how much of the full refill comes back in a second.
	recovery = 1. / 120
)

// Throttled is the state after who reported that AWS refused calls as too many:
// the permit of who, if any, was spent; and unless that happened a moment ago
// already, the buckets are empty and the refill is cut. changed tells whether
// there is anything to write.
func Throttled(s State, l Limits, elapsed time.Duration, d Demand, who string) (next State, changed bool) {
	next = s.After(l, elapsed, d)
	if at := s.find(who); at >= 0 {
		next, changed = next.without(at), true
	}
	if next.Calm < cutPause.Seconds() {
		if !changed {
			return s, false
		}
		return next, true
	}
	next.Tokens = next.Tokens.atMost(Tokens{})
	next.Deletes, next.Describes = Tokens{}, 0
	next.Cut = min(1-(1-next.Cut)*keptByCut, mostCut)
	next.Calm = 0
	return next, true
}

// uncut is for how many seconds of full refill a time counts that begins now:
// the cut shrinks evenly while it lasts.
func (s State) uncut(seconds float64) float64 {
	cut := min(max(s.Cut, 0), mostCut)
	lasts := min(seconds, cut/recovery)
	return seconds - cut*lasts + recovery*lasts*lasts/2
}

// Speed is the part of the refill that is used now.
func (s State) Speed() float64 { return 1 - s.Cut }
