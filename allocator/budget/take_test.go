package budget

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func full() State { return State{}.After(Default(), time.Minute, Demand{}) }

func create(who string, ahead int) Ask {
	return Ask{Who: who, Class: Create, Cost: CreateCost, Ahead: CreateCost.Times(float64(ahead)), Demand: Demand{Creates: CreateCost.Times(float64(ahead + 1))}}
}

// take must be let go.
func take(t *testing.T, s State, elapsed time.Duration, ask Ask) State {
	t.Helper()
	next, wait := Take(s, Default(), elapsed, ask)
	if wait != 0 {
		t.Fatalf("%s must wait %v at %+v", ask.Who, wait, s)
	}
	return next
}

func TestAFreshLeaseIsEmpty(t *testing.T) {
	next, wait := Take(State{}, Default(), 0, create("a", 0))
	if wait <= 0 || !reflect.DeepEqual(next, State{}) {
		t.Errorf("waits %v at %+v", wait, next)
	}
	// The look reserve is filled first, so it may take a little longer than 2/3 s.
	if wait > time.Second {
		t.Errorf("hint is %v", wait)
	}
	take(t, State{}, wait, create("a", 0))
}

// TestHintIsWhenItsTurnComes: whoever comes when told is let go, even if all
// elders have come before.
func TestHintIsWhenItsTurnComes(t *testing.T) {
	s := State{}
	var hints []time.Duration
	for n := range 20 {
		_, wait := Take(s, Default(), 0, create(string(rune('a'+n)), n))
		hints = append(hints, wait)
	}
	at := time.Duration(0)
	for n, hint := range hints {
		ask := create(string(rune('a'+n)), 0)
		s = take(t, s, hint-at, ask)
		at = hint
	}
	if last := hints[19]; last > 15*time.Second {
		t.Errorf("20 creates are told to come up to %v later", last)
	}
}

func TestAPermitIsGivenAgainForNothing(t *testing.T) {
	s := take(t, full(), 0, create("a", 0))
	left := s.Tokens
	for range mostRepeats {
		if s = take(t, s, 0, create("a", 0)); s.Tokens != left {
			t.Fatalf("it paid again: %+v", s.Tokens)
		}
	}
	if s = take(t, s, 0, create("a", 0)); s.Tokens == left || len(s.Open) != 1 {
		t.Errorf("after %d repeats it still pays nothing: %+v", mostRepeats, s)
	}
}

func TestASpentPermitIsPaidAnew(t *testing.T) {
	s := take(t, full(), 0, create("a", 0))
	again := create("a", 0)
	again.Fate = func(string) Fate { return Spent }
	if next := take(t, s, 0, again); next.Tokens == s.Tokens {
		t.Error("it pays nothing")
	}
	reported, changed := Throttled(s, Default(), 0, Demand{}, "a")
	if !changed || reported.HasPermit("a") {
		t.Errorf("after a report of throttling its permit is open: %+v", reported)
	}
}

// TestADeadHoldersTokensReturn, but for the call of which nobody could know; and
// never above the bucket.
func TestADeadHoldersTokensReturn(t *testing.T) {
	s := full()
	for _, who := range []string{"a", "b", "c"} {
		s = take(t, s, 0, create(who, 0))
	}
	ask := create("d", 0)
	ask.Fate = func(who string) Fate {
		if who == "b" {
			return Gone
		}
		return Pending
	}
	before := s.Tokens
	s = take(t, s, 0, ask)
	if want := before.Minus(CreateCost).Plus(CreateCost).Minus(firstCall); s.Tokens != want {
		t.Errorf("left %+v, want %+v", s.Tokens, want)
	}
	if s.HasPermit("b") || !s.HasPermit("a") || !s.HasPermit("d") {
		t.Errorf("open are %+v", s.Open)
	}
	s = take(t, s, time.Minute, create("e", 0))
	ask.Who, ask.Fate = "f", func(string) Fate { return Gone }
	if s = take(t, s, time.Minute, ask); s.Tokens != Default().capacity().Minus(CreateCost) {
		t.Errorf("left %+v", s.Tokens)
	}
}

func TestOpenIsBounded(t *testing.T) {
	s := State{}
	for n := range mostOpen + 10 {
		s = take(t, s, time.Minute, create(string(rune('A'+n)), 0))
	}
	if len(s.Open) != mostOpen || s.HasPermit("A") || !s.HasPermit(string(rune('A'+mostOpen+9))) {
		t.Errorf("%d are open, the oldest %s", len(s.Open), s.Open[0].Who)
	}
	text, err := json.Marshal(s)
	if err != nil || len(text) > 16<<10 {
		t.Errorf("the record has %d bytes, %v", len(text), err)
	}
	var back State
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("read back %+v, %v", back, err)
	}
}

// TestMoreThanABucket is a pod of 50 ports: it is let go with a full bucket, and
// the others wait until the debt is paid.
func TestMoreThanABucket(t *testing.T) {
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

func TestThrottledSlowsDownAndRecovers(t *testing.T) {
	s, changed := Throttled(full(), Default(), 0, Demand{}, "")
	if !changed || s.Tokens.Mutating != 0 || s.Speed() != keptByCut {
		t.Fatalf("after one report: %+v", s)
	}
	if _, changed := Throttled(s, Default(), cutPause-time.Second, Demand{}, ""); changed {
		t.Error("it was cut twice for one throttling")
	}
	for range 20 {
		s, _ = Throttled(s, Default(), cutPause, Demand{}, "")
	}
	if s.Speed() < 1-mostCut || s.Speed() > 1-mostCut+0.1 {
		t.Errorf("after many: %v", s.Speed())
	}
	slow := s.After(Default(), time.Second, Demand{})
	if got := slow.Tokens.Mutating; got > 0.5 || got <= 0 {
		t.Errorf("a second brings %v", got)
	}
	// In one go or in many, the same comes back.
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

// TestWhatAPersonWroteStopsNothing reads states that no program wrote.
func TestWhatAPersonWroteStopsNothing(t *testing.T) {
	for name, s := range map[string]State{
		"owes":      {Tokens: Tokens{-1e12, -1e12, -1e12}},
		"too much":  {Tokens: Tokens{1e12, 1e12, 1e12}},
		"cut":       {Cut: 5, Calm: -5},
		"sped up":   {Cut: -5},
		"kept":      {Deletes: Tokens{1e12, 1e12, 1e12}, Describes: 1e12},
		"kept less": {Deletes: Tokens{-1e12, -1e12, -1e12}, Describes: -1e12},
	} {
		ask := create("a", 0)
		ask.Demand.Deletes = 3
		next, wait := Take(s, Default(), 3*time.Minute, ask)
		if wait != 0 || next.Tokens.Mutating > 17 {
			t.Errorf("%s: waits %v at %+v", name, wait, next)
		}
	}
}

func TestShare(t *testing.T) {
	half := Default().Share(0.5)
	if half.Mutating != (Bucket{10, 1.5}) || half.Registration != (Bucket{10, 2}) || half.All != (Bucket{20, 5}) {
		t.Errorf("half is %+v", half)
	}
	for _, part := range []float64{1, 0.5, 0.1, 0.01} {
		l := Default().Share(part)
		s, hint := State{}, time.Duration(0)
		for _, class := range []Class{Create, Delete, Describe, Create} {
			ask := Ask{Who: string(class), Class: class, Cost: map[Class]Tokens{Create: CreateCost, Delete: DeleteCost, Describe: DescribeCost}[class]}
			for tries := 0; ; tries++ {
				next, wait := Take(s, l, hint, ask)
				if wait == 0 {
					s, hint = next, 0
					break
				}
				if hint += wait; tries > 20 {
					t.Fatalf("a share of %v lets no %s go", part, class)
				}
			}
		}
	}
}

// TestAClockMakesUpForLittle: what was lost long ago may not have fitted into the
// bucket, and must not be counted when it has been emptied since.
func TestAClockMakesUpForLittle(t *testing.T) {
	var c Clock
	if got := c.Elapsed(0, time.Hour); got != 0 {
		t.Errorf("who has seen nothing counts %v", got)
	}
	c.Saw(0, 0)
	if got := c.Elapsed(0, 10*time.Second); got != 10*time.Second {
		t.Errorf("after 10 s: %v", got)
	}
	c.Saw(9900*time.Millisecond, 10*time.Second) // a view that is 0.1 s late
	if got := c.Elapsed(9900*time.Millisecond, 11*time.Second); got != 1100*time.Millisecond {
		t.Errorf("a late view lost something: %v", got)
	}
	c.Saw(10*time.Second, time.Minute) // written by one whose clock stood still
	if got := c.Elapsed(10*time.Second, time.Minute); got != catchUp {
		t.Errorf("makes up for %v", got)
	}
}

// TestWhatIsKeptMustBeThere: while a debt is paid off, what is kept for deletes is
// only a promise.
func TestWhatIsKeptMustBeThere(t *testing.T) {
	s := State{Tokens: Tokens{-20, 0, 10}, Deletes: Tokens{4, 0, 4}}
	ask := Ask{Class: Delete, Cost: DeleteCost, Demand: Demand{Deletes: 2}}
	if _, wait := Take(s, Default(), 0, ask); wait == 0 {
		t.Error("a delete was let go with a debt")
	}
}

// TestIdleAsksTakeOnlyWhatNobodyMisses: of many at once one gets something, and the
// others are told when.
func TestIdleAsksTakeOnlyWhatNobodyMisses(t *testing.T) {
	idle := Ask{Who: "a", Class: Delete, Cost: OpportunisticCost, Idle: true}
	s := take(t, full(), 0, idle)
	next, wait := Take(s, Default(), 0, idle)
	if wait <= 0 || !reflect.DeepEqual(next, s) {
		t.Fatalf("the next waits %v at %+v", wait, next)
	}
	take(t, s, 0, Ask{Who: "lb-1", Class: Delete, Cost: DeleteCost})
	take(t, s, wait, idle)
}
