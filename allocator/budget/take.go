package budget

import (
	"math"
	"time"
)

// Class is what an ask is for.
type Class string

// The classes, in the order in which they are served.
const (
	// Create binds ports.
	Create Class = "create"
	// Delete unbinds one.
	Delete Class = "delete"
	// Describe is a Describe call of the allocator.
	Describe Class = "describe"
)

// Ask is one wish to call AWS.
type Ask struct {
	// Who asks, for creates: the same one asking again has paid already, unless
	// Fate knows better.
	Who   string
	Class Class
	Cost  Tokens
	// Idle asks are for what would be done without them too: they are paid for only
	// while the mutating bucket is as good as full.
	Idle bool
	// Ahead is what the creates cost that wait longer and were not paid for.
	Ahead Tokens
	// Demand is who else waits; its Creates have those of Ahead in it, and the
	// asker if it is one.
	Demand Demand
	// Fate of the holder of an open permit; nil if nothing is known of any.
	Fate func(who string) Fate
}

// Take gives the state in which the ask is paid for, with wait 0; or the state as
// it was, and how long it may take until the tokens are there: rather a little
// too long than too short.
//
// elapsed is the time that the state has not counted yet; see Clock.
func Take(s State, l Limits, elapsed time.Duration, ask Ask) (next State, wait time.Duration) {
	next = s.settle(ask.Fate).After(l, elapsed, ask.Demand)
	if at := next.find(ask.Who); ask.Class == Create && at >= 0 {
		p := next.Open[at]
		next = next.without(at)
		if p.Repeats < mostRepeats && p.Cost.cover(ask.Cost, ask.Cost) {
			p.Repeats++
			return next.open(p), 0
		}
	}
	switch ask.Class {
	case Create:
		wait = next.waitCreate(l, ask)
	case Delete:
		wait = next.waitDelete(l, ask)
		if ask.Idle && wait == 0 {
			wait = next.waitFull(l, ask)
		}
	case Describe:
		wait = next.waitLook(l, ask)
	}
	if wait > 0 {
		return s, wait
	}
	next.Tokens = next.Tokens.Minus(ask.Cost)
	switch ask.Class {
	case Create:
		if ask.Cost.Mutating > 0 { // what only looks leaves no trace to close it by
			next = next.open(Permit{Who: ask.Who, Cost: ask.Cost})
		}
	case Delete:
		next.Deletes = next.Deletes.Minus(ask.Cost).atLeast(Tokens{})
	case Describe:
		next.Describes = max(next.Describes-ask.Cost.All, 0)
	}
	return next, 0
}

// waitCreate: there must be tokens for all who wait longer and for the asker, on
// top of what is kept for deletes and looks. A full bucket is enough in any case,
// so that those ahead who never come delay the asker and do not stop it.
func (s State) waitCreate(l Limits, ask Ask) time.Duration {
	reserved := s.Deletes
	reserved.All += s.Describes
	need := ask.Ahead.Plus(ask.Cost)
	room := l.capacity().Minus(reserved)
	free := s.Tokens.Minus(reserved)
	if free.cover(need.atMost(room), ask.Cost) {
		return 0
	}
	wait := s.until(l, need.Minus(free), ask.Cost, 1-ask.Demand.part())
	// The fuller the bucket, the fewer of those ahead seem to come, and the sooner
	// is it worth while to look again.
	full := free.fill(room, ask.Cost)
	return lateness + time.Duration(float64(wait-lateness)*min(max(2-2*full, soonest), 1))
}

// soonest is the part of its time that an ask waits at a full bucket.
const soonest = 1. / 16

// fill is how full the emptiest bucket is that cost touches, 0 to 1.
func (t Tokens) fill(room, cost Tokens) float64 {
	least := 1.
	for _, b := range [][3]float64{
		{t.Mutating, room.Mutating, cost.Mutating}, {t.Registration, room.Registration, cost.Registration}, {t.All, room.All, cost.All},
	} {
		if b[2] > 0 && b[1] > 0 {
			least = min(least, b[0]/b[1])
		}
	}
	return max(least, 0)
}

// waitDelete: what is kept for deletes must suffice, or there must be tokens for
// all waiting creates and this; or a full bucket.
func (s State) waitDelete(l Limits, ask Ask) time.Duration {
	looks := Tokens{All: s.Describes}
	need := ask.Demand.Creates.Plus(ask.Cost).atMost(l.capacity().Minus(looks))
	if s.oneOf(l, ask.Cost, s.Deletes, s.Tokens.Minus(looks), need) {
		return 0
	}
	return min(
		s.until(l, ask.Cost.Minus(s.Deletes), ask.Cost, max(ask.Demand.part(), fedPart)),
		s.until(l, need.Minus(s.Tokens.Minus(looks)), ask.Cost, 1-lookPart))
}

// asGoodAsFull is in how much time a bucket that is as good as full would be full.
const asGoodAsFull = 100 * time.Millisecond

// waitFull: a bucket that is as good as full loses what comes into it.
func (s State) waitFull(l Limits, ask Ask) time.Duration {
	missing := l.capacity().Mutating - s.Tokens.Mutating
	if missing <= l.perSecond().Mutating*asGoodAsFull.Seconds()+rounding {
		return 0
	}
	return s.until(l, Tokens{Mutating: missing}, ask.Cost, 1)
}

// waitLook: what is kept for looks must suffice, or there must be tokens for all
// waiting creates and this, on top of what is kept for deletes; or a full bucket.
func (s State) waitLook(l Limits, ask Ask) time.Duration {
	need := ask.Demand.Creates.Plus(ask.Cost).atMost(l.capacity().Minus(s.Deletes))
	if s.oneOf(l, ask.Cost, Tokens{All: s.Describes}, s.Tokens.Minus(s.Deletes), need) {
		return 0
	}
	return min(
		s.until(l, ask.Cost.Minus(Tokens{All: s.Describes}), ask.Cost, lookPart),
		s.until(l, need.Minus(s.Tokens.Minus(s.Deletes)), ask.Cost, 1-ask.Demand.part()))
}

// oneOf tells whether each bucket has either enough kept for the asker or enough
// for everybody.
func (s State) oneOf(l Limits, cost, kept, free, need Tokens) bool {
	missing := Tokens{}
	missing = missing.with(kept.Minus(cost.atMost(l.capacity())), func(_, left float64) float64 {
		if left < -rounding {
			return 1
		}
		return 0
	})
	return free.cover(need, cost.with(missing, func(a, b float64) float64 { return a * b })) &&
		s.Tokens.cover(cost.atMost(l.capacity()), cost)
}

// lateness is added to every hint: who comes too late finds the tokens of the
// time between in the bucket, who comes too early must come again.
const lateness = 100 * time.Millisecond

// longestWait bounds a hint; a bucket that nothing refills has none better.
const longestWait = time.Hour

// until is how long it takes to refill what is missing in the buckets that cost
// touches, with a part of the refill as it is cut now.
func (s State) until(l Limits, missing, cost Tokens, part float64) time.Duration {
	perSecond := l.perSecond().Times((1 - s.Cut) * part)
	seconds := 0.
	for _, b := range [][3]float64{
		{missing.Mutating, cost.Mutating, perSecond.Mutating},
		{missing.Registration, cost.Registration, perSecond.Registration},
		{missing.All, cost.All, perSecond.All},
	} {
		if b[0] > 0 && b[1] > 0 {
			seconds = max(seconds, b[0]/b[2])
		}
	}
	if math.IsNaN(seconds) || seconds >= longestWait.Seconds() {
		return longestWait
	}
	return time.Duration(seconds*float64(time.Second)) + lateness
}
