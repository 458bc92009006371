package budget

import (
	"fmt"
	"testing"
	"time"
)

// TestNeverAboveTheBucket has clocks that are slow or stand still, views that are
// seconds late, pauses, restarts, lost writes, lost answers, holders that die
// after their first call, and all three classes at once.
func TestNeverAboveTheBucket(t *testing.T) {
	seeds(t, 12, func(t *testing.T, seed uint64) {
		w := newWorld(seed)
		for range 1 + w.rand.IntN(5) {
			n := &node{speed: 1, lag: w.upTo(3 * time.Second)}
			switch w.rand.IntN(4) {
			case 0:
				n.speed = 0
			case 1:
				n.speed = w.rand.Float64()
			}
			w.nodes = append(w.nodes, n)
		}
		w.lose, w.flightTime = 0.1, w.upTo(2*time.Second)
		w.limits = Default().Share(1 - w.rand.Float64()*0.6)
		w.exhausted = w.rand.IntN(2) == 0
		j := newJudge(burst(w.limits), w.limits.perSecond())
		total := 0
		w.taken = func(a *asker) {
			total++
			cost := a.cost
			if a.dies { // after the call that leaves no trace, at worst
				cost = firstCall
			}
			j.call(w.now, cost)
		}
		w.run(2*time.Minute, func() {
			switch w.rand.IntN(40) {
			case 0:
				for _, a := range w.add(w.rand.IntN(20), Create, CreateCost) {
					a.dies = w.rand.IntN(5) == 0
				}
			case 1:
				w.add(w.rand.IntN(3), Create, CreateCost.Plus(CreateCost).Plus(AttributesCost))
			case 2:
				w.add(w.rand.IntN(10), Delete, DeleteCost)
			case 3:
				w.add(w.rand.IntN(3), Describe, DescribeCost)
			case 4:
				w.nodes[0].pausedUntil = w.now + w.upTo(10*time.Second)
			case 5: // a restart
				*w.nodes[0] = node{speed: 1, lag: w.nodes[0].lag, version: len(w.states) - 1}
			}
		})
		if j.exceeded() {
			t.Errorf("the bucket was down to %+v", j.worst)
		}
		if total < 40 {
			t.Errorf("only %d were let go", total)
		}
	})
}

func burst(l Limits) Tokens { return Tokens{l.Mutating.Burst, l.Registration.Burst, l.All.Burst} }

// TestNeverAboveAWS makes each call some time after its permit, in any order, up
// to slack later but for catchUp. That must fit into AWS's own bucket.
func TestNeverAboveAWS(t *testing.T) {
	seeds(t, 12, func(t *testing.T, seed uint64) {
		w := newWorld(seed, right(3)...)
		w.limits = Default()
		j := newJudge(burst(w.limits), w.limits.perSecond())
		var calls []call
		w.paid = func(a *asker) { calls = append(calls, callsOf(a.cost, w.now, w.upTo)...) }
		w.run(2*time.Minute, func() {
			if w.rand.IntN(100) == 0 {
				w.add(w.rand.IntN(60), Create, CreateCost)
			}
			var later []call
			for _, c := range calls {
				if c.at > w.now {
					later = append(later, c)
				} else {
					j.call(w.now, c.cost)
				}
			}
			calls = later
		})
		if j.exceeded() {
			t.Errorf("AWS's bucket was down to %+v", j.worst)
		}
	})
}

type call struct {
	at   time.Duration
	cost Tokens
}

func callsOf(cost Tokens, now time.Duration, upTo func(time.Duration) time.Duration) (calls []call) {
	for _, kind := range []struct {
		n    float64
		cost Tokens
	}{
		{cost.Mutating, Tokens{Mutating: 1, All: 1}}, {cost.Registration, Tokens{Registration: 1, All: 1}},
		{cost.All - cost.Mutating - cost.Registration, Tokens{All: 1}},
	} {
		for range int(kind.n) {
			calls = append(calls, call{now + upTo(slack-catchUp-step), kind.cost})
		}
	}
	return calls
}

// TestWorkConserving has 300 creates wait from the start: all are let go in
// little more than the time that the tokens take, on one replica or five, and the
// oldest go first.
func TestWorkConserving(t *testing.T) {
	seeds(t, 10, func(t *testing.T, seed uint64) {
		const creates = 300
		w := newWorld(seed, right(1+int(seed%5))...)
		w.run(20*time.Second, func() {}) // the bucket fills
		start := w.now
		all := w.add(creates, Create, CreateCost)
		last := start
		w.paid = func(*asker) { last = w.now }
		w.run(start+5*time.Minute, func() {})
		full := w.limits.Mutating
		bound := (creates*CreateCost.Mutating - full.capacity()) / full.PerSecond
		took := (last - start).Seconds()
		t.Logf("%d writes, %d of them lost, took %.1f s of %.1f", len(w.states), w.lostWrites, took, bound)
		if w.waiting(Create) > 0 || took > bound*1.02+1 {
			t.Errorf("%d still wait, the others took %.1f s, the tokens come in %.1f s", w.waiting(Create), took, bound)
		}
		overtaken := 0
		for i, a := range all {
			for _, younger := range all[i+1:] {
				if younger.paidAt+2*time.Second < a.paidAt {
					overtaken++
				}
			}
		}
		if overtaken > creates*creates/100 {
			t.Errorf("%d times somebody was served over 2 s before somebody older", overtaken)
		}
	})
}

// TestDeadEldersOnlyDelay: the oldest half never asks. The others wait for a full
// bucket and then go at its pace.
func TestDeadEldersOnlyDelay(t *testing.T) {
	w := newWorld(1, right(2)...)
	for _, a := range w.add(50, Create, CreateCost) {
		a.due = time.Hour
	}
	alive := w.add(50, Create, CreateCost)
	w.run(2*time.Minute, func() {})
	for _, a := range alive {
		if !a.done {
			t.Errorf("%s still waits", a.who)
		}
	}
	if last := alive[len(alive)-1].paidAt; last > 70*time.Second {
		t.Errorf("the last had its tokens after %v", last)
	}
}

// TestCreatesBeforeDeletesAndDeletesNotStarved keeps many of both waiting. The parts
// are written down here: they are what is promised to those who wait for a port.
func TestCreatesBeforeDeletesAndDeletesNotStarved(t *testing.T) {
	for name, c := range map[string]struct {
		exhausted bool
		part      float64
	}{"exhausted": {true, 1. / 4}, "fed": {false, 1. / 16}} {
		t.Run(name, func(t *testing.T) {
			seeds(t, 5, func(t *testing.T, seed uint64) {
				w := newWorld(seed, right(3)...)
				w.exhausted, w.hasty = c.exhausted, seed%2 == 0
				w.lateness = time.Second // as sweeps are
				paid := map[Class]float64{}
				w.paid = func(a *asker) { paid[a.class] += a.cost.Mutating }
				w.run(3*time.Minute, func() {
					w.add(max(0, 20-w.waiting(Create)), Create, CreateCost)
					w.add(max(0, 20-w.waiting(Delete)), Delete, DeleteCost)
				})
				part := paid[Delete] / (paid[Delete] + paid[Create])
				t.Logf("deletes had %.3f of %v", part, paid)
				if part < c.part*0.93 || part > c.part*1.15+0.01 {
					t.Errorf("deletes had %.3f of the tokens, want about %.3f", part, c.part)
				}
				if all := paid[Delete] + paid[Create]; all < 0.95*180*w.limits.Mutating.PerSecond {
					t.Errorf("%.0f tokens were used in 3 minutes", all)
				}
			})
		})
	}
}

// TestDeletesTakeWhatCreatesLeave: alone, they get everything.
func TestDeletesTakeWhatCreatesLeave(t *testing.T) {
	w := newWorld(1, right(2)...)
	w.add(60, Delete, DeleteCost)
	w.run(45*time.Second, func() {})
	if n := w.waiting(Delete); n > 0 {
		t.Errorf("%d deletes still wait", n)
	}
}

// TestLooksAreNotStarved has All as the tightest bucket and creates that want all
// of it.
func TestLooksAreNotStarved(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(seed, right(3)...)
		w.limits.All, w.hasty = Bucket{Burst: 10, PerSecond: 4}, seed%2 == 0
		w.lateness = time.Second
		paid := map[Class]float64{}
		w.paid = func(a *asker) { paid[a.class] += a.cost.All }
		w.run(3*time.Minute, func() {
			w.add(max(0, 20-w.waiting(Create)), Create, CreateCost)
			w.add(max(0, 2-w.waiting(Describe)), Describe, DescribeCost)
		})
		part := paid[Describe] / (paid[Describe] + paid[Create])
		if part < lookPart*0.8 || part > lookPart*2 {
			t.Errorf("describes had %.3f of %v, want about %.3f", part, paid, lookPart)
		}
	})
}

// TestAWrongClockSlowsNobody lets one replica of three have a clock that stands
// still or is slow. Each of their writes may lose what was refilled since the
// change before; but it takes what the bucket holds already, so not many can
// follow each other, and the others make up for it.
func TestAWrongClockSlowsNobody(t *testing.T) {
	for _, speed := range []float64{0, 0.1, 0.9} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				nodes := right(3)
				nodes[0].speed = speed
				w := newWorld(seed, nodes...)
				used := 0.
				w.paid = func(a *asker) { used += a.cost.Mutating }
				w.run(3*time.Minute, func() { w.add(max(0, 20-w.waiting(Create)), Create, CreateCost) })
				t.Logf("%.0f tokens were used in 3 minutes", used)
				if could := 180 * w.limits.Mutating.PerSecond; used < 0.9*could {
					t.Errorf("%.0f tokens of %.0f were used", used, could)
				}
			})
		})
	}
}

// TestALateViewLosesNothing has views that are late by up to catchUp.
func TestALateViewLosesNothing(t *testing.T) {
	w := newWorld(1, right(3)...)
	for _, n := range w.nodes {
		n.lag = catchUp
	}
	used := 0.
	w.paid = func(a *asker) { used += a.cost.Mutating }
	w.run(3*time.Minute, func() { w.add(max(0, 30-w.waiting(Create)), Create, CreateCost) })
	if could := 180 * w.limits.Mutating.PerSecond; used < 0.95*could {
		t.Errorf("%.0f tokens of %.0f were used", used, could)
	}
}
