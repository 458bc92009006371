package budget

import (
	"fmt"
	"testing"
	"time"
)

// There are clocks that are slow or stand still, caches that are seconds stale, pauses,
// restarts, lost writes, lost answers, agents that die after their first call, and all
// three classes at once.
func TestGrantsNeverExceedTheBuckets(t *testing.T) {
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
		bucket := newExactBucket(burst(w.limits), w.limits.perSecond())
		total := 0
		w.taken = func(a *requester) {
			total++
			cost := a.cost
			if a.dies { // after the call that leaves no trace, at worst
				cost = unrecordedCost
			}
			bucket.call(w.now, cost)
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
		if bucket.exceeded() {
			t.Errorf("the bucket was down to %+v", bucket.worst)
		}
		if total < 40 {
			t.Errorf("only %d were granted", total)
		}
	})
}

func burst(l Limits) Tokens {
	return Tokens{l.Mutating.Burst, l.Registration.Burst, l.Describe.Burst, l.All.Burst}
}

// Each call is made some time after its grant, in any order, up to slack minus
// maxCatchUp later. The calls must still fit AWS's own buckets.
func TestDelayedCallsNeverExceedAWSLimits(t *testing.T) {
	seeds(t, 12, func(t *testing.T, seed uint64) {
		w := newWorld(seed, right(3)...)
		w.limits = Default()
		bucket := newExactBucket(burst(w.limits), w.limits.perSecond())
		var calls []call
		w.granted = func(a *requester) { calls = append(calls, callsOf(a.cost, w.now, w.upTo)...) }
		w.run(2*time.Minute, func() {
			if w.rand.IntN(100) == 0 {
				w.add(w.rand.IntN(60), Create, CreateCost)
			}
			var later []call
			for _, c := range calls {
				if c.at > w.now {
					later = append(later, c)
				} else {
					bucket.call(w.now, c.cost)
				}
			}
			calls = later
		})
		if bucket.exceeded() {
			t.Errorf("AWS's bucket was down to %+v", bucket.worst)
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
		{cost.Describe, DescribeCost},
	} {
		for range int(kind.n) {
			calls = append(calls, call{now + upTo(slack-maxCatchUp-step), kind.cost})
		}
	}
	return calls
}

// 300 creates wait from the start. All are granted in little more than the time that
// refills their tokens, on one replica or five, and the oldest first.
func TestRefilledTokensAreUsedAtOnce(t *testing.T) {
	seeds(t, 10, func(t *testing.T, seed uint64) {
		const creates = 300
		w := newWorld(seed, right(1+int(seed%5))...)
		w.run(20*time.Second, func() {}) // the bucket fills
		start := w.now
		all := w.add(creates, Create, CreateCost)
		last := start
		w.granted = func(*requester) { last = w.now }
		w.run(start+5*time.Minute, func() {})
		full := w.limits.Mutating
		bound := (creates*CreateCost.Mutating - full.capacity()) / full.PerSecond
		took := (last - start).Seconds()
		t.Logf("%d writes, %d of them lost, took %.1f s of %.1f", len(w.states), w.lostWrites, took, bound)
		if w.waiting(Create) > 0 || took > bound*1.02+1 {
			t.Errorf("%d still wait; the others took %.1f s, the tokens come in %.1f s", w.waiting(Create), took, bound)
		}
		overtaken := 0
		for i, a := range all {
			for _, younger := range all[i+1:] {
				if younger.learnedAt+2*time.Second < a.learnedAt {
					overtaken++
				}
			}
		}
		if overtaken > creates*creates/100 {
			t.Errorf("%d times a create was granted over 2 s before an older one", overtaken)
		}
	})
}

// The older half never asks. The others wait for a full bucket and are then granted at
// its pace.
func TestOlderCreatesThatNeverComeOnlyDelay(t *testing.T) {
	w := newWorld(1, right(2)...)
	for _, a := range w.add(50, Create, CreateCost) {
		a.due = time.Hour
	}
	alive := w.add(50, Create, CreateCost)
	w.run(2*time.Minute, func() {})
	for _, a := range alive {
		if !a.done {
			t.Errorf("%s still waits", a.name)
		}
	}
	if last := alive[len(alive)-1].learnedAt; last > 70*time.Second {
		t.Errorf("the last had its tokens after %v", last)
	}
}

// Many of both are waiting. The shares are spelled out here because the documentation
// promises them.
func TestDeletesGetTheirShareWhileCreatesWait(t *testing.T) {
	for name, c := range map[string]struct {
		exhausted bool
		part      float64
	}{"exhausted": {true, 1. / 4}, "not exhausted": {false, 1. / 16}} {
		t.Run(name, func(t *testing.T) {
			seeds(t, 5, func(t *testing.T, seed uint64) {
				w := newWorld(seed, right(3)...)
				w.exhausted, w.hasty = c.exhausted, seed%2 == 0
				w.lateness = time.Second // as sweeps are
				paid := map[Class]float64{}
				w.granted = func(a *requester) { paid[a.class] += a.cost.Mutating }
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

// Hundreds of pods start and stop at once. The targets of those that stop are deregistered
// from their first seconds, from the bucket that creates hardly use, and creates are not
// slower for it.
func TestDeregistrationsDoNotWaitForMutatingCalls(t *testing.T) {
	run := func(d time.Duration, deregister bool) (creates, deregistered float64) {
		w := newWorld(1, right(3)...)
		w.lateness = time.Second
		w.granted = func(a *requester) {
			switch {
			case a.class == Create:
				creates++
			case a.class == Delete && a.cost.Mutating == 0:
				deregistered += a.cost.Registration
			}
		}
		w.run(d, func() {
			w.add(max(0, 300-w.waiting(Create)), Create, CreateCost)
			w.add(max(0, 100-w.waiting(Delete)), Delete, DeleteCost)
			w.add(max(0, 3-w.waiting(Describe)), Describe, DescribeCost)
			if deregister && w.now%time.Second == 0 {
				w.add(1, Delete, DeregisterCost.Times(4).Plus(DescribeCost))
			}
		})
		return creates, deregistered
	}
	if _, soon := run(10*time.Second, true); soon < 16 {
		t.Errorf("%v targets were deregistered in 10 s", soon)
	}
	without, _ := run(time.Minute, false)
	with, deregistered := run(time.Minute, true)
	if deregistered < 120 {
		t.Errorf("%v targets were deregistered in a minute", deregistered)
	}
	if with < 0.95*without {
		t.Errorf("%v creates were granted beside them, and %v without", with, without)
	}
}

// Without creates, deletes get all of the refill.
func TestDeletesAloneGetAllTokens(t *testing.T) {
	w := newWorld(1, right(2)...)
	w.add(60, Delete, DeleteCost)
	w.run(45*time.Second, func() {})
	if n := w.waiting(Delete); n > 0 {
		t.Errorf("%d deletes still wait", n)
	}
}

// All is the tightest bucket, and creates want all of it.
func TestDescribesGetTheirShareWhileCreatesWait(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(seed, right(3)...)
		w.limits.All, w.hasty = Bucket{Burst: 10, PerSecond: 4}, seed%2 == 0
		w.lateness = time.Second
		paid := map[Class]float64{}
		w.granted = func(a *requester) { paid[a.class] += a.cost.All }
		w.run(3*time.Minute, func() {
			w.add(max(0, 20-w.waiting(Create)), Create, CreateCost)
			w.add(max(0, 2-w.waiting(Describe)), Describe, DescribeCost)
		})
		part := paid[Describe] / (paid[Describe] + paid[Create])
		if part < describeShare*0.8 || part > describeShare*2 {
			t.Errorf("describes had %.3f of %v, want about %.3f", part, paid, describeShare)
		}
	})
}

// One replica of three has a clock that is slow or stands still. Each of its writes may
// lose the refill since the previous change. But its grants come out of what the bucket
// holds already, so few can follow each other, and the other replicas make up for it.
func TestSlowClockOnOneReplicaDoesNotSlowGrants(t *testing.T) {
	for _, speed := range []float64{0, 0.1, 0.9} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			seeds(t, 3, func(t *testing.T, seed uint64) {
				nodes := right(3)
				nodes[0].speed = speed
				w := newWorld(seed, nodes...)
				used := 0.
				w.granted = func(a *requester) { used += a.cost.Mutating }
				w.run(3*time.Minute, func() { w.add(max(0, 20-w.waiting(Create)), Create, CreateCost) })
				t.Logf("%.0f tokens were used in 3 minutes", used)
				if could := 180 * w.limits.Mutating.PerSecond; used < 0.9*could {
					t.Errorf("%.0f tokens of %.0f were used", used, could)
				}
			})
		})
	}
}

// The caches are stale by up to maxCatchUp.
func TestStaleCachesLoseNoTokens(t *testing.T) {
	w := newWorld(1, right(3)...)
	for _, n := range w.nodes {
		n.lag = maxCatchUp
	}
	used := 0.
	w.granted = func(a *requester) { used += a.cost.Mutating }
	w.run(3*time.Minute, func() { w.add(max(0, 30-w.waiting(Create)), Create, CreateCost) })
	if could := 180 * w.limits.Mutating.PerSecond; used < 0.95*could {
		t.Errorf("%.0f tokens of %.0f were used", used, could)
	}
}
