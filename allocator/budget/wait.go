package budget

import (
	"math"
	"time"
)

const (
	// hintMargin is added to every hint. A caller that comes late finds the tokens
	// refilled meanwhile; a caller that comes early must come again.
	hintMargin = 100 * time.Millisecond
	// maxWait bounds a hint, also for a bucket that is never refilled.
	maxWait = time.Hour
	// minWaitFraction is the part of its wait that a create is told when the buckets
	// are full.
	minWaitFraction = 1. / 16
	// nearlyFull is the time that refills a nearly full bucket.
	nearlyFull = 100 * time.Millisecond
)

// wait returns 0 if the request can be granted now, and otherwise how long that may
// take.
func (s State) wait(l Limits, r Request) time.Duration {
	switch r.Class {
	case Create:
		return s.waitCreate(l, r)
	case Retry:
		return s.waitRetry(l, r)
	case Delete:
		return s.waitOpportunistic(l, r, s.waitReserved(l, r, reserved{
			own: s.DeleteReserve, ownShare: max(r.Demand.deleteShare(), deleteShare),
			others: s.RetryReserve.Plus(s.describeReserve()), othersShare: describeShare + r.Demand.retryShare(),
		}))
	case Describe:
		from := reserved{
			own: s.describeReserve(), ownShare: describeShare,
			others: s.DeleteReserve.Plus(s.RetryReserve), othersShare: r.Demand.deleteShare() + r.Demand.retryShare(),
		}
		if r.Follows {
			from.own, from.others, from.left = Tokens{}, from.others.Plus(from.own), l.capacity().Times(1./2)
		}
		return s.waitOpportunistic(l, r, s.waitReserved(l, r, from))
	}
	return 0
}

// waitCreate grants a create if the buckets hold its cost and that of all older
// waiting creates, on top of the reserves for deletes, retries and Describe calls. Full
// buckets are always enough, so older creates that never come only delay the
// request.
func (s State) waitCreate(l Limits, r Request) time.Duration {
	reserves := s.DeleteReserve.Plus(s.RetryReserve).Plus(s.describeReserve())
	need := r.Older.Plus(r.Cost)
	room := l.capacity().Minus(reserves)
	unreserved := s.Tokens.Minus(reserves)
	if unreserved.covers(need.atMost(room), r.Cost) {
		return 0
	}
	wait := s.refillTime(l, need.Minus(unreserved), r.Cost, 1-r.Demand.deleteShare()-r.Demand.retryShare())
	// Fuller buckets mean that fewer of the older creates are coming, so the request is
	// told to come again sooner.
	fraction := min(max(2-2*unreserved.fill(room, r.Cost), minWaitFraction), 1)
	return hintMargin + time.Duration(float64(wait-hintMargin)*fraction)
}

// waitRetry grants a retry from the reserve that all retries share, the oldest first, or
// from the upper quarter of the buckets if no create waits. The rest is for claims that
// come with their first attempt.
func (s State) waitRetry(l Limits, r Request) time.Duration {
	older := r.Older.atMost(r.Demand.maxRetryReserve(l.capacity()).Minus(r.Cost)).atLeast(Tokens{})
	wait := s.waitReserved(l, r, reserved{
		own: s.RetryReserve.Minus(older), ownShare: retryShare,
		others: s.DeleteReserve.Plus(s.describeReserve()), othersShare: r.Demand.deleteShare() + describeShare,
		left: l.capacity().Times(3. / 4),
	})
	if wait > 0 {
		wait = min(wait+s.refillTime(l, r.Older.Minus(older), r.Cost, retryShare), maxWait)
	}
	return wait
}

// fill is how full the emptiest bucket is that cost touches, 0 to 1.
func (t Tokens) fill(room, cost Tokens) float64 {
	least := 1.
	have, full := t.buckets(), room.buckets()
	for i, c := range cost.buckets() {
		if c > 0 && full[i] > 0 {
			least = min(least, have[i]/full[i])
		}
	}
	return max(least, 0)
}

// reserved is what a class with a reserve can draw on.
type reserved struct {
	// own is the reserve of the class, and ownShare the fraction of the refill that
	// goes there.
	own      Tokens
	ownShare float64
	// others are the reserves of other classes, and othersShare is their fraction.
	others      Tokens
	othersShare float64
	// left is what a grant beyond the reserve leaves in the buckets.
	left Tokens
}

// waitReserved grants a request that its own reserve covers, or one for which the
// buckets hold the cost of all waiting creates as well. Full buckets are always
// enough.
func (s State) waitReserved(l Limits, r Request, from reserved) time.Duration {
	unreserved := s.Tokens.Minus(from.others)
	need := r.Demand.Creates.Plus(r.Cost).Plus(from.left).atMost(l.capacity().Minus(from.others))
	if s.affords(r.Cost.atMost(l.capacity()), from.own, unreserved, need) {
		return 0
	}
	return min(
		s.refillTime(l, r.Cost.Minus(from.own), r.Cost, from.ownShare),
		s.refillTime(l, need.Minus(unreserved), r.Cost, 1-from.othersShare))
}

// affords reports whether every bucket that cost touches holds it, and whether
// either the reserve covers it there or the unreserved tokens cover need. A reserve
// is only a promise while the buckets owe tokens.
func (s State) affords(cost, reserve, unreserved, need Tokens) bool {
	held, kept, free, needed := s.Tokens.buckets(), reserve.buckets(), unreserved.buckets(), need.buckets()
	for i, c := range cost.buckets() {
		if c == 0 {
			continue
		}
		if !enough(held[i], c) || !enough(kept[i], c) && !enough(free[i], needed[i]) {
			return false
		}
	}
	return true
}

// waitOpportunistic grants an opportunistic request that would be granted anyway only while
// its scarcest bucket is nearly full, because a full bucket cannot hold what is refilled.
func (s State) waitOpportunistic(l Limits, r Request, wait time.Duration) time.Duration {
	if !r.Opportunistic || wait > 0 {
		return wait
	}
	scarcest := Tokens{Mutating: 1}
	if r.Cost.Mutating == 0 {
		scarcest = Tokens{Describe: 1, All: 1}
	}
	missing := l.capacity().Minus(s.Tokens)
	if l.perSecond().Times(nearlyFull.Seconds()).covers(missing, scarcest) {
		return 0
	}
	return s.refillTime(l, missing, scarcest, 1)
}

// refillTime is how long it takes to refill the missing tokens in the buckets that
// cost touches, from the given fraction of the refill at its present cut.
func (s State) refillTime(l Limits, missing, cost Tokens, fraction float64) time.Duration {
	lacking, perSecond := missing.buckets(), l.perSecond().Times((1-s.Cut)*fraction).buckets()
	seconds := 0.
	for i, c := range cost.buckets() {
		if c > 0 && lacking[i] > 0 {
			seconds = max(seconds, lacking[i]/perSecond[i])
		}
	}
	if math.IsNaN(seconds) || seconds >= maxWait.Seconds() {
		return maxWait
	}
	return time.Duration(seconds*float64(time.Second)) + hintMargin
}
