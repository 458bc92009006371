package budget

import "time"

// Class is the kind of calls that a request is for.
type Class string

// The classes, in the order in which they are served.
const (
	// Create binds ports.
	Create Class = "create"
	// Retry binds ports of a claim whose last attempts have failed.
	Retry Class = "retry"
	// Delete unbinds one.
	Delete Class = "delete"
	// Describe is a Describe call of the allocator.
	Describe Class = "describe"
)

// binds reports whether the calls create bindings.
func (c Class) binds() bool { return c == Create || c == Retry }

// Request asks for tokens.
type Request struct {
	// Requester is the claim lease that a create is for. A claim that has an unused
	// permit has paid already. The other classes pay for every request.
	Requester string
	Class     Class
	Cost      Tokens
	// Opportunistic requests are for work that would be done without them too. They are
	// granted only while the mutating bucket is nearly full.
	Opportunistic bool
	// Follows marks Describe calls of a replica that does not lead. They are granted while
	// the buckets are at least half full, so the leader's calls come first.
	Follows bool
	// Older is the cost of the older waiting creates, or retries, that have no permit, until
	// they are bound.
	Older Tokens
	// Demand is everything that is waiting. Its Creates or Retries include Older and this
	// request.
	Demand Demand
	// Outcome tells what became of a permit; nil if nothing is known.
	Outcome func(Permit) PermitOutcome
}

// Take returns the state after the request was granted and a wait of 0. If the
// request is refused it returns the state unchanged and how long it may take until
// the tokens are there, rounded up.
//
// elapsed is the time that the state does not count yet; see Clock.
func Take(s State, l Limits, elapsed time.Duration, r Request) (next State, wait time.Duration) {
	next = s.closePermits(r.Outcome).After(l, elapsed, r.Demand)
	if i := next.findPermit(r.Requester); r.Class.binds() && i >= 0 {
		p := next.Permits[i]
		next = next.withoutPermit(i)
		if p.Repeats < maxRepeats && p.Cost.covers(r.Cost, r.Cost) {
			p.Repeats++
			return next.withPermit(p), 0
		}
	}
	if wait = next.wait(l, r); wait > 0 {
		return s, wait
	}
	return next.grant(r), 0
}

// grant takes the cost of a request from the buckets and from the reserve of its
// class.
func (s State) grant(r Request) State {
	s.Tokens = s.Tokens.Minus(r.Cost)
	switch r.Class {
	case Create, Retry:
		if r.Class == Retry {
			s.RetryReserve = s.RetryReserve.Minus(r.Cost).atLeast(Tokens{})
		}
		// Describe calls leave no record that could close a permit.
		if r.Cost.Mutating > 0 {
			s = s.withPermit(Permit{Claim: r.Requester, Cost: r.Cost})
		}
	case Delete:
		s.DeleteReserve = s.DeleteReserve.Minus(r.Cost).atLeast(Tokens{})
	case Describe:
		s.DescribeReserve = max(s.DescribeReserve-r.Cost.All, 0)
	}
	return s
}
