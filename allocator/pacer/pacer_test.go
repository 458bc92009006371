package pacer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// inBubble runs a test on a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T, i *installation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newInstallation(t)) })
}

// TestTwoHundredAtOnce is a fleet that asks one replica: few writes, as many let
// go as the bucket holds, the oldest, and everybody else told when to come.
func TestTwoHundredAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		const fleet = 200
		r := i.replica()
		i.fill(r)
		var claims []ledger.Record[ledger.Claim]
		for range fleet {
			claims = append(claims, i.claim(1))
		}
		before := i.ledger.Budgets.Writes()
		i.budgets.flight = 10 * time.Millisecond
		waits := make([]time.Duration, fleet)
		var all sync.WaitGroup
		for n, c := range claims {
			all.Go(func() { waits[n] = i.bind(r, c) })
		}
		all.Wait()
		if writes := i.ledger.Budgets.Writes() - before; writes > 8 {
			t.Errorf("%d writes", writes)
		}
		letGo, young := 0, 0
		for n, wait := range waits {
			switch {
			case wait == 0:
				letGo++
				if n > 10 {
					young++
				}
			case wait > renewEvery:
				t.Errorf("number %d was told to wait %v, longer than a renewal", n, wait)
			}
		}
		if letGo < 5 || letGo > 8 {
			t.Errorf("%d were let go at once", letGo)
		}
		// Whoever happens to ask first finds the bucket full, and nobody else asking.
		if young > 1 {
			t.Errorf("%d of those who came last were let go before others", young)
		}
	})
}

// TestReplicasServeAFleet lets 90 agents come when they are told to, each time to
// another of three replicas.
func TestReplicasServeAFleet(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		const fleet = 90
		replicas := []*replica{i.replica(), i.replica(), i.replica()}
		i.fill(replicas[0])
		i.budgets.flight = 20 * time.Millisecond
		start := time.Now()
		var all sync.WaitGroup
		for n := range fleet {
			c := i.claim(1)
			all.Go(func() {
				for try := 0; ; try++ {
					wait := i.bind(replicas[(n+try)%len(replicas)], c)
					if wait == 0 {
						time.Sleep(time.Second) // of the bubble's clock: binding
						i.bound(c)
						return
					}
					time.Sleep(wait)
				}
			})
		}
		all.Wait()
		limits := budget.Default()
		least := (fleet*budget.CreateCost.Mutating - limits.Mutating.Burst) / limits.Mutating.PerSecond
		took := time.Since(start).Seconds()
		t.Logf("%d writes, %d conflicts, %d waits, %.1f s of %.1f", i.ledger.Budgets.Writes(), i.count("write conflict"), i.count("create wait"), took, least)
		if took < least-1 || took > least*1.05 {
			t.Errorf("took %.1f s, the tokens come in %.1f", took, least)
		}
		if s := i.ledger.Budgets.Value(ledger.BudgetName).State; len(s.Open) > 8 {
			t.Errorf("%d permits are open: %+v", len(s.Open), s.Open)
		}
	})
}

// TestALostAnswerIsNotPaidTwice: the write went through, its writer was told
// otherwise.
func TestALostAnswerIsNotPaidTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		c := i.claim(1)
		lost := errors.New("connection reset")
		i.budgets.fault = func() (bool, error) { return true, lost }
		if _, err := r.Bind(t.Context(), c, i.portsOf(c), 0); !errors.Is(err, lost) {
			t.Fatalf("got %v", err)
		}
		i.budgets.fault = nil
		before := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating
		if wait := i.bind(i.replica(), c); wait != 0 {
			t.Errorf("it waits %v", wait)
		}
		if after := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating; after < before {
			t.Errorf("it paid again: %v, then %v", before, after)
		}
		i.budgets.fault = func() (bool, error) { return false, lost }
		if now, err := r.Unbind(t.Context(), "lb-1"); now || !errors.Is(err, lost) {
			t.Errorf("an unbind of unknown outcome: %v, %v", now, err)
		}
	})
}

// TestADeadHoldersTokensComeBack, if a consistent read says so and nothing was
// recorded of it.
func TestADeadHoldersTokensComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*installation, ledger.Record[ledger.Claim])
		back float64
	}{
		"claim gone":   {func(i *installation, c ledger.Record[ledger.Claim]) { i.remove(c) }, 1},
		"claim ending": {func(i *installation, c ledger.Record[ledger.Claim]) { end(i, c) }, 1},
		"target group recorded, then ending": {func(i *installation, c ledger.Record[ledger.Claim]) {
			i.change(c, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
			end(i, c)
		}, 0},
		"alive": {func(*installation, ledger.Record[ledger.Claim]) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *installation) {
				r := i.replica()
				i.fill(r)
				var claims []ledger.Record[ledger.Claim]
				for range 3 {
					claims = append(claims, i.claim(1))
					if wait := i.bind(r, claims[len(claims)-1]); wait != 0 {
						t.Fatalf("it waits %v", wait)
					}
				}
				before := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating
				c.end(i, claims[1])
				if now, err := r.Unbind(t.Context(), "lb"); !now || err != nil {
					t.Fatal(now, err)
				}
				got := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating - (before - budget.DeleteCost.Mutating)
				if got < c.back-1e-6 || got > c.back+1e-6 {
					t.Errorf("%v tokens came back, want %v", got, c.back)
				}
			})
		})
	}
}

func end(i *installation, c ledger.Record[ledger.Claim]) {
	i.ledger.Claims.Change(c.Name, func(c *ledger.Claim) { c.State = ledger.ClaimReleasing })
}

// TestDeadEldersAreNotWaitedFor: claims that did not change for two renewals.
func TestDeadEldersAreNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		for range 20 {
			i.claim(1)
		}
		c := i.claim(1)
		// The bucket is not full, else anybody would be let go.
		if now, err := r.Unbind(t.Context(), "lb"); !now || err != nil {
			t.Fatal(now, err)
		}
		if wait := i.bind(r, c); wait == 0 {
			t.Error("it did not wait for its elders")
		}
		r.age = func(string, string) time.Duration { return 2 * renewEvery }
		if wait := i.bind(r, c); wait != 0 {
			t.Errorf("it waits %v for the dead", wait)
		}
	})
}

func TestCosts(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		cost := func(c ledger.Record[ledger.Claim]) budget.Tokens {
			t.Helper()
			time.Sleep(time.Minute) // of the bubble's clock: the buckets are full
			before, _ := r.Left()
			if wait := i.bind(r, c); wait != 0 {
				t.Fatalf("it waits %v", wait)
			}
			after, _ := r.Left()
			return before.Tokens.Minus(after.Tokens)
		}
		two := i.claim(2)
		two.Value.Ports[0].Attributes = map[string]string{"deregistration_delay.timeout_seconds": "0"}
		if got, want := cost(two), (budget.Tokens{Mutating: 5, Registration: 2, All: 9}); got != want {
			t.Errorf("two ports, one with attributes, cost %+v, want %+v", got, want)
		}
		i.bound(two)
		if got, want := cost(two), (budget.Tokens{All: 6}); got != want {
			t.Errorf("two bound ports cost %+v, want %+v", got, want)
		}
	})
}

// TestOpportunisticCosts: an agent's unbinding two ports, and deregistering them before.
func TestOpportunisticCosts(t *testing.T) {
	for deregister, want := range map[bool]budget.Tokens{
		false: {Mutating: 6, All: 16},
		true:  {Mutating: 6, Registration: 2, All: 18},
	} {
		inBubble(t, func(t *testing.T, i *installation) {
			r := i.replica()
			i.fill(r)
			before, _ := r.Left()
			if now, err := r.TryOpportunistic(t.Context(), "claim-0", 2, deregister); !now || err != nil {
				t.Fatalf("%v, %v", now, err)
			}
			if after, _ := r.Left(); before.Tokens.Minus(after.Tokens) != want {
				t.Errorf("deregister %v cost %+v, want %+v", deregister, before.Tokens.Minus(after.Tokens), want)
			}
		})
	}
}

func TestWaitForDescribesWaitsForItsTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		start := time.Now()
		if err := r.WaitForDescribes(t.Context(), 30); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2900*time.Millisecond || took > 6*time.Second {
			t.Errorf("30 calls of an empty bucket took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.WaitForDescribes(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// TestReserveDescribes: what is asked for without waiting is paid from the same bucket, a
// few calls at a time, and who comes too early learns when to come again.
func TestReserveDescribes(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		before, _ := r.Left()
		if paid, wait, err := r.ReserveDescribes(t.Context(), 3); paid != 3 || wait != 0 || err != nil {
			t.Fatalf("paid %d, wait %v, %v", paid, wait, err)
		}
		if after, _ := r.Left(); before.Tokens.All-after.Tokens.All != 3 {
			t.Errorf("it cost %v", before.Tokens.Minus(after.Tokens))
		}
		if paid, _, err := r.ReserveDescribes(t.Context(), 100); paid != r.Limits().DescribesAtOnce() || err != nil {
			t.Errorf("of 100 calls it paid %d, %v", paid, err)
		}
		for range 100 {
			paid, wait, err := r.ReserveDescribes(t.Context(), 1)
			if err != nil || (paid == 0) != (wait > 0) {
				t.Fatalf("paid %d, wait %v, %v", paid, wait, err)
			}
			if paid > 0 {
				continue
			}
			time.Sleep(wait) // of the bubble's clock
			if paid, wait, err = r.ReserveDescribes(t.Context(), 1); paid != 1 {
				t.Errorf("after the wait it paid %d and wants %v more, %v", paid, wait, err)
			}
			return
		}
		t.Error("a hundred calls at once were paid for")
	})
}

func TestThrottledSlowsEverybodyDown(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		if err := r.Throttled(t.Context(), 0); err != nil || i.count("report granted") > 0 {
			t.Errorf("no calls were reported, %v", err)
		}
		if err := r.Throttled(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		left, ok := i.replica().Left()
		if !ok || left.Speed() >= 1 || left.Tokens.Mutating != 0 {
			t.Errorf("left are %+v", left)
		}
		time.Sleep(10 * time.Second) // of the bubble's clock
		c := i.claim(1)
		if wait := i.bind(r, c); wait != 0 {
			t.Fatalf("it waits %v", wait)
		}
		// The agent was throttled: what it had is spent, and it pays anew.
		before, _ := r.Left()
		wait, err := r.Bind(t.Context(), c, i.portsOf(c), 1)
		after, _ := r.Left()
		if err != nil || wait == 0 && after.Tokens.Mutating >= before.Tokens.Mutating || after.Speed() >= before.Speed() {
			t.Errorf("after a report it waits %v, %v: %+v, then %+v", wait, err, before, after)
		}
	})
}

// TestALostLeaseBeginsEmpty deletes it under the replicas.
func TestALostLeaseBeginsEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		if wait := i.bind(r, i.claim(1)); wait != 0 {
			t.Fatalf("it waits %v", wait)
		}
		if err := remove(i.ledger.Budgets, ledger.BudgetName); err != nil {
			t.Fatal(err)
		}
		r.Observe()
		c := i.claim(1)
		wait := i.bind(r, c)
		if wait == 0 {
			t.Error("an empty bucket let it go")
		}
		time.Sleep(wait) // of the bubble's clock
		if wait := i.bind(r, c); wait != 0 {
			t.Errorf("it still waits %v", wait)
		}
	})
}
