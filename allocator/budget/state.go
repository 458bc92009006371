package budget

import "time"

// State is what all replicas know of the buckets, as of the last write. The zero
// value is empty buckets, so an installation that lost its budget Lease starts
// slowly and never grants a burst twice. State holds no wall-clock time.
type State struct {
	// Counted is the time counted as refill since the Lease was made; see Clock.
	Counted time.Duration `json:"counted,omitempty"`
	// Tokens is what is left. It is negative after a grant that cost more than a
	// whole bucket.
	Tokens Tokens `json:"tokens,omitzero"`
	// DeleteReserve is the part of Tokens that creates leave to deletes.
	DeleteReserve Tokens `json:"deleteReserve,omitzero"`
	// RetryReserve is the part of Tokens that creates and deletes leave to retries.
	RetryReserve Tokens `json:"retryReserve,omitzero"`
	// DescribeReserve is the part of Tokens.Describe, and of Tokens.All, that creates and
	// deletes leave to the allocator's Describe calls.
	DescribeReserve float64 `json:"describeReserve,omitempty"`
	// Cut is the fraction of the refill, 0 to maxCut, that is left to other users of
	// the account after AWS has throttled our calls.
	Cut float64 `json:"cut,omitempty"`
	// SinceCut is how many seconds ago the refill was last cut. Values above
	// minCutInterval do not matter.
	SinceCut float64 `json:"sinceCut,omitempty"`
	// Reporters are the claims that have reported throttling lately, oldest first.
	Reporters []Reporter `json:"reporters,omitempty"`
	// Permits are the creates that were granted and are not known to be used, oldest
	// first.
	Permits []Permit `json:"permits,omitempty"`
}

const (
	// maxDebt bounds what a State may owe, so that a State edited by hand does not
	// stop everything. 50 ports at once cost less.
	maxDebt = 300

	// While a pool is exhausted, a quarter of the refill is reserved for deletes that
	// are waiting, because they free ports. Otherwise it is a sixteenth.
	deleteShareExhausted = 1. / 4
	deleteShare          = 1. / 16
	// deregisterShare of the refill of registration calls, and deregisterShareOfAll of the
	// refill of Describe calls and of all calls, is reserved for deregistering the targets of deletes that are
	// waiting. Creates cannot use more of either than the rest, because they need two
	// mutating calls for each registration.
	deregisterShare      = 5. / 8
	deregisterShareOfAll = 1. / 4
	// retryShare of the refill is reserved for all retries together while any waits.
	retryShare = 1. / 8
	// describeShare of the refill is reserved for Describe calls, up to describeReserve.
	describeShare   = 1. / 16
	describeReserve = 4
)

// Demand is what is waiting, as the replica sees it.
type Demand struct {
	// Creates is the cost of all waiting creates that have no permit.
	Creates Tokens
	// Retries is the same of retries.
	Retries Tokens
	// Deletes is how many deletes are waiting.
	Deletes int
	// Exhausted is true if a claim is waiting for a free port.
	Exhausted bool
}

// deleteShare is the fraction of the refill that is reserved for deletes.
func (d Demand) deleteShare() float64 {
	switch {
	case d.Deletes <= 0:
		return 0
	case d.Exhausted:
		return deleteShareExhausted
	}
	return deleteShare
}

// deleteShares is the fraction of each bucket's refill that is reserved for deletes.
func (d Demand) deleteShares() Tokens {
	share := d.deleteShare()
	if share == 0 {
		return Tokens{}
	}
	return Tokens{Mutating: share, Registration: deregisterShare, Describe: share + deregisterShareOfAll, All: share + deregisterShareOfAll}
}

// retryShare is the fraction of the refill that is reserved for retries.
func (d Demand) retryShare() float64 {
	if d.Retries == (Tokens{}) {
		return 0
	}
	return retryShare
}

// maxRetryReserve is the cost of the waiting retries, up to half of the buckets: four
// ports by default. A retry that costs more needs full buckets.
func (d Demand) maxRetryReserve(capacity Tokens) Tokens {
	return d.Retries.atMost(capacity.Times(1. / 2))
}

// maxDeleteReserve is the cost of the waiting deletes, up to a quarter of the
// buckets, but always enough for one delete.
func (d Demand) maxDeleteReserve(capacity Tokens) Tokens {
	one := DeleteCost.Plus(DeregisterCost)
	waiting := one.Times(float64(max(d.Deletes, 0)))
	return waiting.atMost(capacity.Times(1. / 4).atLeast(one)).atMost(capacity)
}

// describeReserve is DescribeReserve in both of its buckets.
func (s State) describeReserve() Tokens { return DescribeCost.Times(s.DescribeReserve) }

// After returns the state after a time in which nothing was granted.
func (s State) After(l Limits, elapsed time.Duration, d Demand) State {
	elapsed = max(elapsed, 0)
	seconds := elapsed.Seconds()
	capacity := l.capacity()
	refill := l.perSecond().Times(s.refillSeconds(seconds))
	s.Counted += elapsed
	s.Tokens = s.Tokens.atLeast(Tokens{-maxDebt, -maxDebt, -maxDebt, -maxDebt}).Plus(refill).atMost(capacity)
	s.DescribeReserve = max(min(s.DescribeReserve+min(refill.All, refill.Describe)*describeShare, min(capacity.All, capacity.Describe, l.maxDescribeReserve())), 0)
	s.DeleteReserve = s.DeleteReserve.Plus(refill.by(d.deleteShares())).atMost(d.maxDeleteReserve(capacity)).atLeast(Tokens{})
	s.RetryReserve = s.RetryReserve.Plus(refill.Times(d.retryShare())).atMost(d.maxRetryReserve(capacity)).atLeast(Tokens{})
	s.Cut = min(max(s.Cut-seconds*recoveryPerSecond, 0), maxCut)
	s.SinceCut = min(max(s.SinceCut, 0)+seconds, minCutInterval.Seconds())
	s.Reporters = s.reportersAfter(seconds)
	return s
}
