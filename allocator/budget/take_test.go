package budget

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func full() State { return State{}.After(Default(), time.Minute, Demand{}) }

func create(claim string, older int) Request {
	return Request{Requester: claim, Class: Create, Cost: CreateCost, Older: CreateCost.Times(float64(older)), Demand: Demand{Creates: CreateCost.Times(float64(older + 1))}}
}

// take takes a request that must be granted.
func take(t *testing.T, s State, elapsed time.Duration, request Request) State {
	t.Helper()
	next, wait := Take(s, Default(), elapsed, request)
	if wait != 0 {
		t.Fatalf("%s must wait %v at %+v", request.Requester, wait, s)
	}
	return next
}

func TestNewStateIsEmpty(t *testing.T) {
	next, wait := Take(State{}, Default(), 0, create("a", 0))
	if diff := cmp.Diff(State{}, next); diff != "" {
		t.Errorf("a refused request changed the state (-want +got):\n%s", diff)
	}
	if wait <= 0 {
		t.Errorf("waits %v at %+v", wait, next)
	}
	// The Describe reserve is filled first, so it may take a little longer than 2/3 s.
	if wait > time.Second {
		t.Errorf("hint is %v", wait)
	}
	take(t, State{}, wait, create("a", 0))
}

// A create that comes again at its hint is granted, even if all older creates have
// come before.
func TestCreateIsGrantedAtItsHint(t *testing.T) {
	s := State{}
	var hints []time.Duration
	for n := range 20 {
		_, wait := Take(s, Default(), 0, create(string(rune('a'+n)), n))
		hints = append(hints, wait)
	}
	at := time.Duration(0)
	for n, hint := range hints {
		request := create(string(rune('a'+n)), 0)
		s = take(t, s, hint-at, request)
		at = hint
	}
	if last := hints[19]; last > 15*time.Second {
		t.Errorf("20 creates are told to come up to %v later", last)
	}
}

func TestLostAnswerIsRepeatedWithoutPayingAgain(t *testing.T) {
	s := take(t, full(), 0, create("a", 0))
	left := s.Tokens
	for range maxRepeats {
		if s = take(t, s, 0, create("a", 0)); s.Tokens != left {
			t.Fatalf("it paid again: %+v", s.Tokens)
		}
	}
	if s = take(t, s, 0, create("a", 0)); s.Tokens == left || len(s.Permits) != 1 {
		t.Errorf("after %d repeats it still pays nothing: %+v", maxRepeats, s)
	}
}

func TestUsedPermitIsPaidForAgain(t *testing.T) {
	s := take(t, full(), 0, create("a", 0))
	again := create("a", 0)
	again.Outcome = func(Permit) PermitOutcome { return PermitUsed }
	if next := take(t, s, 0, again); next.Tokens == s.Tokens {
		t.Error("it pays nothing")
	}
	reported, verdict := Throttled(s, Default(), 0, Demand{}, Report{Claim: "a"})
	if verdict != Believed || reported.HasPermit("a") {
		t.Errorf("after a report of throttling it still has a permit: %+v", reported)
	}
}

// The refund leaves out the call that leaves no record, and never overfills a bucket.
func TestAbandonedPermitIsRefunded(t *testing.T) {
	s := full()
	for _, claim := range []string{"a", "b", "c"} {
		s = take(t, s, 0, create(claim, 0))
	}
	request := create("d", 0)
	request.Outcome = func(p Permit) PermitOutcome {
		if p.Claim == "b" {
			return PermitAbandoned
		}
		return PermitUnused
	}
	before := s.Tokens
	s = take(t, s, 0, request)
	if want := before.Minus(CreateCost).Plus(CreateCost).Minus(unrecordedCost); s.Tokens != want {
		t.Errorf("left %+v, want %+v", s.Tokens, want)
	}
	if s.HasPermit("b") || !s.HasPermit("a") || !s.HasPermit("d") {
		t.Errorf("the permits are %+v", s.Permits)
	}
	s = take(t, s, time.Minute, create("e", 0))
	request.Requester, request.Outcome = "f", func(Permit) PermitOutcome { return PermitAbandoned }
	if s = take(t, s, time.Minute, request); s.Tokens != Default().capacity().Minus(CreateCost) {
		t.Errorf("left %+v", s.Tokens)
	}
}

func TestPermitsAreBounded(t *testing.T) {
	s := State{}
	for n := range maxPermits + 10 {
		s = take(t, s, time.Minute, create(string(rune('A'+n)), 0))
	}
	if len(s.Permits) != maxPermits || s.HasPermit("A") || !s.HasPermit(string(rune('A'+maxPermits+9))) {
		t.Errorf("%d permits, the oldest of %s", len(s.Permits), s.Permits[0].Claim)
	}
	text, err := json.Marshal(s)
	if err != nil || len(text) > 16<<10 {
		t.Errorf("the record has %d bytes, %v", len(text), err)
	}
	var back State
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

// A pod of 50 ports costs more than a bucket holds. It is granted when the buckets are
// full, and the others wait until the debt is paid.
func TestCostAboveABucketIsGrantedOnceTheBucketsAreFull(t *testing.T) {
	big := create("big", 0)
	big.Cost = CreateCost.Times(50)
	if _, wait := Take(State{}, Default(), time.Second, big); wait <= 0 {
		t.Error("it did not wait for a full bucket")
	}
	s := take(t, full(), 0, big)
	_, wait := Take(s, Default(), 0, create("a", 0))
	if wait < 25*time.Second || wait > 35*time.Second {
		t.Errorf("the next waits %v", wait)
	}
	take(t, s, wait, create("a", 0))
}

func TestThrottlingCutsTheRefillAndItRecovers(t *testing.T) {
	s, verdict := Throttled(full(), Default(), 0, Demand{}, Report{})
	if verdict != Believed || s.Tokens.Mutating != 0 || s.Speed() != cutFactor {
		t.Fatalf("after one report: %+v", s)
	}
	if _, verdict := Throttled(s, Default(), minCutInterval-time.Second, Demand{}, Report{}); verdict != Known {
		t.Error("it was cut twice within minCutInterval")
	}
	for range 20 {
		s, _ = Throttled(s, Default(), minCutInterval, Demand{}, Report{})
	}
	if s.Speed() < 1-maxCut || s.Speed() > 1-maxCut+0.1 {
		t.Errorf("after many: %v", s.Speed())
	}
	slow := s.After(Default(), time.Second, Demand{})
	if got := slow.Tokens.Mutating; got > 0.5 || got <= 0 {
		t.Errorf("a second brings %v", got)
	}
	// One long time refills as much as many short ones.
	many := s
	for range 600 {
		many = many.After(Default(), 10*time.Millisecond, Demand{})
	}
	if one := s.After(Default(), 6*time.Second, Demand{}); one.Tokens.Mutating-many.Tokens.Mutating > 1e-6 || many.Tokens.Mutating-one.Tokens.Mutating > 1e-6 {
		t.Errorf("at once %v, in steps %v", one.Tokens, many.Tokens)
	}
	if s = s.After(Default(), 2*time.Minute, Demand{}); s.Speed() != 1 {
		t.Errorf("after two calm minutes: %v", s.Speed())
	}
}

// The states are such as no program writes.
func TestStateEditedByHandDoesNotStopGrants(t *testing.T) {
	for name, s := range map[string]State{
		"owes":      {Tokens: Tokens{-1e12, -1e12, -1e12, -1e12}},
		"too much":  {Tokens: Tokens{1e12, 1e12, 1e12, 1e12}},
		"cut":       {Cut: 5, SinceCut: -5},
		"sped up":   {Cut: -5},
		"kept":      {DeleteReserve: Tokens{1e12, 1e12, 1e12, 1e12}, DescribeReserve: 1e12},
		"kept less": {DeleteReserve: Tokens{-1e12, -1e12, -1e12, -1e12}, DescribeReserve: -1e12},
	} {
		request := create("a", 0)
		request.Demand.Deletes = 3
		next, wait := Take(s, Default(), 3*time.Minute, request)
		if wait != 0 || next.Tokens.Mutating > 17 {
			t.Errorf("%s: waits %v at %+v", name, wait, next)
		}
	}
}

func TestEveryClassIsGrantedAtAnyShare(t *testing.T) {
	half := Default().Share(0.5)
	if half.Mutating != (Bucket{10, 1.5}) || half.Registration != (Bucket{10, 2}) || half.All != (Bucket{20, 5}) {
		t.Errorf("half is %+v", half)
	}
	for _, part := range []float64{1, 0.5, 0.1, 0.01} {
		l := Default().Share(part)
		s, hint := State{}, time.Duration(0)
		for _, class := range []Class{Create, Delete, Describe, Retry, Create} {
			request := Request{Requester: string(class), Class: class, Cost: map[Class]Tokens{Create: CreateCost, Retry: CreateCost, Delete: DeleteCost, Describe: DescribeCost}[class]}
			for tries := 0; ; tries++ {
				next, wait := Take(s, l, hint, request)
				if wait == 0 {
					s, hint = next, 0
					break
				}
				if hint += wait; tries > 20 {
					t.Fatalf("a share of %v grants no %s", part, class)
				}
			}
		}
	}
}

// Time lost long ago may not have fitted into the bucket, and must not be counted
// after the bucket was emptied.
func TestClockCatchesUpOnlyALittle(t *testing.T) {
	var c Clock
	if got := c.Elapsed(0, time.Hour); got != 0 {
		t.Errorf("a clock that has seen nothing counts %v", got)
	}
	c.Saw(0, 0)
	if got := c.Elapsed(0, 10*time.Second); got != 10*time.Second {
		t.Errorf("after 10 s: %v", got)
	}
	c.Saw(9900*time.Millisecond, 10*time.Second) // seen 0.1 s late
	if got := c.Elapsed(9900*time.Millisecond, 11*time.Second); got != 1100*time.Millisecond {
		t.Errorf("a State seen late lost time: %v", got)
	}
	c.Saw(10*time.Second, time.Minute) // written by a replica whose clock stood still
	if got := c.Elapsed(10*time.Second, time.Minute); got != maxCatchUp {
		t.Errorf("it catches up by %v", got)
	}
}

// While the buckets owe tokens, the delete reserve is only a promise.
func TestReserveIsNotGrantedWhileTokensAreOwed(t *testing.T) {
	s := State{Tokens: Tokens{-20, 0, 10, 10}, DeleteReserve: Tokens{4, 0, 4, 4}}
	request := Request{Class: Delete, Cost: DeleteCost, Demand: Demand{Deletes: 2}}
	if _, wait := Take(s, Default(), 0, request); wait == 0 {
		t.Error("a delete was granted while tokens were owed")
	}
}

// Of many at once one is granted, and the others get a hint.
func TestOpportunisticRequestNeedsNearlyFullBucket(t *testing.T) {
	opportunistic := Request{Requester: "a", Class: Delete, Cost: OpportunisticCost, Opportunistic: true}
	s := take(t, full(), 0, opportunistic)
	next, wait := Take(s, Default(), 0, opportunistic)
	if diff := cmp.Diff(s, next); diff != "" {
		t.Errorf("a refused request changed the state (-want +got):\n%s", diff)
	}
	if wait <= 0 {
		t.Fatalf("the next waits %v at %+v", wait, next)
	}
	take(t, s, 0, Request{Requester: "lb-1", Class: Delete, Cost: DeleteCost})
	take(t, s, wait, opportunistic)
}

// An account may have more calls in all than Describe calls. Describe calls then need a
// token of their own bucket, and all calls one of the account's.
func TestDescribeCallsHaveTheirOwnBucket(t *testing.T) {
	describe := Request{Class: Describe, Cost: DescribeCost}
	granted := func(l Limits, r Request) (n float64) {
		s := State{}.After(l, time.Minute, Demand{})
		for {
			next, wait := Take(s, l, 0, r)
			if wait > 0 {
				return n
			}
			s, n = next, n+1
		}
	}
	raised := Default()
	raised.All = Bucket{Burst: 400, PerSecond: 100}
	if got := granted(raised, describe); got != raised.Describe.capacity() {
		t.Errorf("%v describe calls were granted at once, want %v", got, raised.Describe.capacity())
	}
	raised.All, raised.Describe = Default().All, Bucket{Burst: 200, PerSecond: 50}
	if got := granted(raised, describe); got != raised.All.capacity() {
		t.Errorf("%v describe calls were granted at once, want the account's %v", got, raised.All.capacity())
	}
}
