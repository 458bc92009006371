package ledger

// Retries paces a claim whose attempts to bind fail, or whose bindings are damaged again
// and again. Each attempt costs calls that others wait for, so the pauses between them
// double, and every replica reads them from the claim lease.
//
// Pauses are counted in renewal intervals. A replica counts one when it writes a claim
// that it has seen unchanged for most of an interval by its own monotonic clock. So no
// clocks are compared, and an agent that asks more often only waits longer.
type Retries struct {
	// Failures counts failed attempts and repeated damage. It falls while all ports stay
	// bound.
	Failures int `json:"failures,omitempty"`
	// Intervals is how many renewal intervals have to pass before the next attempt, or
	// before Failures falls if all ports are bound.
	Intervals int `json:"intervals,omitempty"`
	// Failing is set until all ports are bound: the claim binds after all others.
	Failing bool `json:"failing,omitempty"`
	// Bound is set once all ports were bound, as of the last renewal.
	Bound bool `json:"bound,omitempty"`
}

// maxFailures bounds the pauses: 2, 4, 8 and then 16 renewal intervals.
const maxFailures = 4

// Paused reports whether the claim must not attempt to bind yet.
func (r Retries) Paused() bool { return !r.Bound && r.Intervals > 0 }

// Renewed returns the retries after a renewal. failed is whether the agent reports that
// its last attempt failed, bound is whether all ports are bound, and interval is whether
// a renewal interval has passed since the last change.
func (r Retries) Renewed(failed, bound, interval bool) Retries {
	was := r.Bound
	r.Bound = bound
	switch {
	case was && !bound:
		return r.damaged()
	case !was && bound:
		r.Failing, r.Intervals = false, pause(r.Failures)
	case failed && !bound && r.Intervals == 0:
		// During a pause no attempt was allowed: the report is one that was counted.
		r.Failures = min(r.Failures+1, maxFailures)
		r.Failing, r.Intervals = true, pause(r.Failures)
	case !interval:
	case r.Intervals > 0:
		r.Intervals--
	case bound && r.Failures > 0:
		r.Failures--
		r.Intervals = pause(r.Failures)
	}
	return r
}

// damaged returns the retries after bindings were found damaged. The first damage is
// repaired at once.
func (r Retries) damaged() Retries {
	r.Failing, r.Intervals = r.Failures > 0, pause(r.Failures)
	r.Failures = min(r.Failures+1, maxFailures)
	return r
}

func pause(failures int) int {
	if failures == 0 {
		return 0
	}
	return 1 << failures
}
