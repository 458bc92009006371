package pacer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// inBubble runs a test with a synthetic clock.
func inBubble(t *testing.T, test func(t *testing.T, i *installation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newInstallation(t)) })
}

// A whole fleet asks one replica. The grants fit the bucket, and all others get a hint.
func TestManyRequestsAtOnceAreDecidedInFewWritesOldestFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		const fleet, granting = 200, 17 // a bucket less its slack
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
		granted, young := 0, 0
		for n, wait := range waits {
			switch {
			case wait == 0:
				granted++
				if n > granting {
					young++
				}
			case wait > renewEvery:
				t.Errorf("claim %d must wait %v, longer than a renewal interval", n, wait)
			}
		}
		if granted < granting-2 || granted > granting {
			t.Errorf("%d were granted at once", granted)
		}
		// The very first request may be decided alone, before the older ones arrive.
		if young > 1 {
			t.Errorf("%d of the youngest were granted before older ones", young)
		}
	})
}

// Agents come at their hints, each time to another of three replicas. Their target groups
// wait for two seconds before they get a listener, and the budget uses that time for others.
func TestThreeReplicasBindAFleetAtTheRefillRate(t *testing.T) {
	for _, fleet := range []int{20, 90} {
		t.Run(fmt.Sprint(fleet), func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *installation) {
				replicas := []*replica{i.replica(), i.replica(), i.replica()}
				i.fill(replicas[0])
				i.budgets.flight = 20 * time.Millisecond
				start, requests := time.Now(), 0
				var all sync.WaitGroup
				for n := range fleet {
					c, asks := i.claim(1), n
					granted := func() {
						for {
							asks++
							wait := i.bind(replicas[asks%len(replicas)], c)
							if wait == 0 {
								return
							}
							time.Sleep(wait)
						}
					}
					all.Go(func() {
						granted()
						time.Sleep(100 * time.Millisecond) // in the bubble, as below: CreateTargetGroup
						i.change(c, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
						time.Sleep(2 * time.Second)
						granted()
						time.Sleep(100 * time.Millisecond)
						i.bound(c)
						i.mu.Lock()
						defer i.mu.Unlock()
						requests += asks - n
					})
				}
				all.Wait()
				limits := budget.Default()
				least := (float64(fleet)*budget.CreateCost.Mutating - (limits.Mutating.Burst - limits.Mutating.PerSecond)) / limits.Mutating.PerSecond
				took := time.Since(start).Seconds()
				t.Logf("%d requests, %d writes, %d conflicts, %d waits, %.1f s of %.1f", requests, i.ledger.Budgets.Writes(), i.count("write conflict"), i.count("create wait"), took, least)
				// The last pod needs 2.2 s after its first grant. Twice the tokens would be needed
				// if target groups were paid for again with the listeners.
				if took < least || took > least*1.02+2.2 {
					t.Errorf("took %.1f s, the tokens come in %.1f", took, least)
				}
				if requests > 8*fleet {
					t.Errorf("%d requests", requests)
				}
				if s := i.ledger.Budgets.Value(ledger.BudgetName).State; len(s.Permits) > 8 {
					t.Errorf("%d permits are unused: %+v", len(s.Permits), s.Permits)
				}
			})
		})
	}
}

// A silent claim did not change for two renewal intervals.
func TestSilentClaimsLoseTheirPlaceInTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		for range 20 {
			i.claim(1)
		}
		c := i.claim(1)
		renewed := time.Now()
		r.age = func(string, string) time.Duration { return time.Since(renewed) }
		bind := func() time.Duration {
			// A full bucket would grant any request.
			if now, err := r.delete(t.Context(), "lb"); !now || err != nil {
				t.Fatal(now, err)
			}
			return i.bind(r, c)
		}
		if wait := bind(); wait == 0 {
			t.Error("it did not wait for older claims")
		}
		time.Sleep(2*renewEvery - time.Second) // in the bubble
		if wait := bind(); wait == 0 {
			t.Error("it did not wait for claims that may still be renewed")
		}
		time.Sleep(time.Second) // in the bubble
		if wait := bind(); wait != 0 {
			t.Errorf("it waits %v for silent claims", wait)
		}
	})
}

func TestBindCostDependsOnThePorts(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		cost := func(c ledger.Record[ledger.Claim]) budget.Tokens {
			t.Helper()
			time.Sleep(time.Minute) // in the bubble: the buckets are full
			before, _ := r.Left()
			if wait := i.bind(r, c); wait != 0 {
				t.Fatalf("it waits %v", wait)
			}
			after, _ := r.Left()
			return before.Tokens.Minus(after.Tokens)
		}
		two := i.claim(2)
		two.Value.Ports[0].Attributes = map[string]string{"deregistration_delay.timeout_seconds": "0"}
		if got, want := cost(two), (budget.Tokens{Mutating: 2, All: 2}); got != want {
			t.Errorf("two target groups cost %+v, want %+v", got, want)
		}
		i.change(two, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
		if got, want := cost(two), (budget.Tokens{Mutating: 3, Registration: 2, Describe: 2, All: 7}); got != want {
			t.Errorf("two listeners, one with attributes, cost %+v, want %+v", got, want)
		}
		if got, want := cost(two), (budget.Tokens{Mutating: 3, Registration: 2, Describe: 2, All: 7}); got != want {
			t.Errorf("another attempt costs %+v, want %+v", got, want)
		}
		i.bound(two)
		if got, want := cost(two), (budget.Tokens{Describe: 6, All: 6}); got != want {
			t.Errorf("two bound ports cost %+v, want %+v", got, want)
		}
		i.change(two, func(p *ledger.Port) { p.State = ledger.Claimed })
		if got, want := cost(two), (budget.Tokens{Mutating: 7, Registration: 4, Describe: 8, All: 19}); got != want {
			t.Errorf("two damaged ports, one with attributes, cost %+v, want %+v", got, want)
		}
	})
}

func TestReleaseReservesItsCalls(t *testing.T) {
	for name, c := range map[string]struct {
		reserve func(*replica, context.Context, string, int) (bool, error)
		want    budget.Tokens
	}{
		"the agent deregisters and unbinds, the janitor confirms": {(*replica).TryOpportunistic, budget.Tokens{Mutating: 6, Registration: 2, Describe: 10, All: 18}},
		"somebody deregisters": {func(r *replica, ctx context.Context, claim string, bindings int) (bool, error) {
			return r.Deregister(ctx, claim, bindings, 1)
		}, budget.Tokens{Registration: 2, Describe: 1, All: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *installation) {
				r := i.replica()
				i.fill(r)
				before, _ := r.Left()
				if now, err := c.reserve(r, t.Context(), "claim-0", 2); !now || err != nil {
					t.Fatalf("%v, %v", now, err)
				}
				if after, _ := r.Left(); before.Tokens.Minus(after.Tokens) != c.want {
					t.Errorf("it cost %+v, want %+v", before.Tokens.Minus(after.Tokens), c.want)
				}
			})
		})
	}
}

func TestThrottlingReportSlowsAllReplicas(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		if err := r.Throttled(t.Context(), "", 0); err != nil || i.count("report believed") > 0 {
			t.Errorf("no calls were reported, %v", err)
		}
		if err := r.Throttled(t.Context(), "", 3); err != nil {
			t.Fatal(err)
		}
		left, ok := i.replica().Left()
		if !ok || left.Speed() >= 1 || left.Tokens.Mutating != 0 {
			t.Errorf("left are %+v", left)
		}
		time.Sleep(10 * time.Second) // in the bubble
		c := i.claim(1)
		if wait := i.bind(r, c); wait != 0 {
			t.Fatalf("it waits %v", wait)
		}
		// The agent was throttled, so its permit is used and it pays again.
		before, _ := r.Left()
		wait, err := r.Bind(t.Context(), c, i.portsOf(c), 1)
		after, _ := r.Left()
		if err != nil || wait == 0 && after.Tokens.Mutating >= before.Tokens.Mutating || after.Speed() >= before.Speed() {
			t.Errorf("after a report it waits %v, %v: %+v, then %+v", wait, err, before, after)
		}
	})
}

func TestLostBudgetLeaseStartsWithEmptyBuckets(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		if wait := i.bind(r, i.claim(1)); wait != 0 {
			t.Fatalf("it waits %v", wait)
		}
		i.ledger.Budgets.Remove(ledger.BudgetName)
		r.Observe()
		c := i.claim(1)
		wait := i.bind(r, c)
		if wait == 0 {
			t.Error("an empty bucket granted it")
		}
		time.Sleep(wait) // in the bubble
		if wait := i.bind(r, c); wait != 0 {
			t.Errorf("it still waits %v", wait)
		}
	})
}

// countedPorts counts reads of single ports from the cache.
type countedPorts struct {
	ledger.Ports
	reads int
}

// Cached implements ledger.Table.
func (c *countedPorts) Cached(name string) (ledger.Record[ledger.Port], bool) {
	c.reads++
	return c.Ports.Cached(name)
}

// When a fleet starts, thousands of claims wait, and each asks now and then.
func TestDecisionReadsOnlyThePortsOfClaimsThatChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		var older []ledger.Record[ledger.Claim]
		for range 100 {
			older = append(older, i.claim(1))
		}
		last := i.claim(1)
		// A full bucket would grant any request.
		if now, err := r.delete(t.Context(), "lb"); !now || err != nil {
			t.Fatal(now, err)
		}
		ports := &countedPorts{Ports: r.Ports}
		r.Ports = ports
		bind := func() (wait time.Duration, reads int) {
			before := ports.reads
			wait = i.bind(r, last)
			return wait, ports.reads - before
		}
		bind() // reads all
		for n, c := range older {
			wait, reads := bind()
			if wait == 0 || reads > 5 {
				t.Fatalf("%d bound, %d older: it waits %v and read %d ports", n, len(older)-n, wait, reads)
			}
			if n == 90 {
				break
			}
			i.bound(c)
		}
		for _, c := range older[90:] {
			i.bound(c)
		}
		if wait, _ := bind(); wait != 0 {
			t.Errorf("it waits %v for claims that are bound", wait)
		}
	})
}
