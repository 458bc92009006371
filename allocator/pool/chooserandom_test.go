package pool_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/portlease/portlease/allocator/pool"
)

// highest is the last port of any random pool.
const highest = 40

// randomPool is small, so that every case occurs: overlapping ranges, nothing free,
// limits exceeded, ports taken outside the ranges.
func randomPool(r *rand.Rand) []pool.Candidate {
	some := func(share int) map[int]bool {
		m := make(map[int]bool)
		for p := 1; p <= highest; p++ {
			if r.IntN(100) < share {
				m[p] = true
			}
		}
		return m
	}
	var all []pool.Candidate
	for i := range r.IntN(4) {
		lb := pool.Candidate{
			ARN: fmt.Sprintf("arn-%d", i), Taken: some(r.IntN(101)), Preferred: some(r.IntN(20)),
			Listeners: r.IntN(12), Limit: r.IntN(16),
		}
		for range r.IntN(4) {
			from := 1 + r.IntN(highest)
			lb.Ranges = append(lb.Ranges, pool.Range{From: from, To: min(from+r.IntN(8), highest)})
		}
		all = append(all, lb)
	}
	return all
}

// available counts the ports of a load balancer that may be chosen.
func available(lb pool.Candidate) (free, preferred int) {
	for p := 1; p <= highest; p++ {
		if lb.Taken[p] || !slices.ContainsFunc(lb.Ranges, func(r pool.Range) bool { return r.Contains(p) }) {
			continue
		}
		free++
		if lb.Preferred[p] {
			preferred++
		}
	}
	return free, preferred
}

func TestChoiceOnRandomPoolsIsValidAndSteady(t *testing.T) {
	granted, exhausted := 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		all, n := randomPool(r), 1+r.IntN(4)
		choice, err := pool.Choose(stocks(all), request(n, fmt.Sprint(seed)))
		fits := slices.ContainsFunc(all, func(lb pool.Candidate) bool {
			free, _ := available(lb)
			return free >= n && lb.Listeners+n <= lb.Limit
		})
		if err != nil {
			exhausted++
			if fits || !errors.Is(err, pool.ErrExhausted) {
				t.Fatalf("seed %d: %d of %+v fit, got %v", seed, n, all, err)
			}
			continue
		}
		granted++
		if !fits {
			t.Fatalf("seed %d: %d of %+v do not fit, got %v", seed, n, all, choice)
		}
		if wrong := violation(all, n, choice); wrong != "" {
			t.Fatalf("seed %d: %s: %v of %+v", seed, wrong, choice, all)
		}
		again, err := pool.Choose(stocks(all), request(n, fmt.Sprint(seed)))
		if err != nil || again.ARN != choice.ARN || !slices.Equal(again.Ports, choice.Ports) {
			t.Fatalf("seed %d: chose %v, then %v, %v", seed, choice, again, err)
		}
		slices.Reverse(all)
		if again, err := pool.Choose(stocks(all), request(n, fmt.Sprint(seed))); err != nil || again.ARN != choice.ARN || !slices.Equal(again.Ports, choice.Ports) {
			t.Fatalf("seed %d: chose %v, in another order of load balancers %v, %v", seed, choice, again, err)
		}
	}
	if granted < 500 || exhausted < 500 {
		t.Errorf("the pools are one-sided: %d granted, %d exhausted", granted, exhausted)
	}
}

// violation returns what is wrong with a choice; empty if nothing.
func violation(all []pool.Candidate, n int, c pool.Choice) string {
	i := slices.IndexFunc(all, func(lb pool.Candidate) bool { return lb.ARN == c.ARN })
	if i < 0 {
		return "unknown load balancer"
	}
	lb := all[i]
	if len(c.Ports) != n {
		return "wrong number of ports"
	}
	seen, chosenPreferred := make(map[int]bool), 0
	for _, p := range c.Ports {
		switch {
		case seen[p]:
			return "a port twice"
		case lb.Taken[p]:
			return "a taken port"
		case !slices.ContainsFunc(lb.Ranges, func(r pool.Range) bool { return r.Contains(p) }):
			return "a port outside the ranges"
		}
		seen[p] = true
		if lb.Preferred[p] {
			chosenPreferred++
		}
	}
	if _, preferred := available(lb); chosenPreferred != min(n, preferred) {
		return "a port although a preferred one is free"
	}
	for _, other := range all {
		free, preferred := available(other)
		if free < n || other.Listeners+n > other.Limit {
			continue
		}
		switch preferred = min(preferred, n); {
		case preferred > chosenPreferred:
			return "a load balancer although another has more preferred ports"
		case preferred == chosenPreferred && other.Listeners < lb.Listeners:
			return "a load balancer although another has fewer listeners"
		}
	}
	return ""
}

func TestDifferentPodsSpreadOverThePorts(t *testing.T) {
	fifty := []pool.Range{{From: 30000, To: 30049}}
	all := []pool.Candidate{{ARN: "a", Ranges: fifty, Limit: 50}, {ARN: "b", Ranges: fifty, Limit: 50}}
	const pods = 2000
	first := make(map[int]int)
	on := make(map[string]int)
	for i := range pods {
		c, err := pool.Choose(stocks(all), request(2, fmt.Sprintf("pod-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		first[c.Ports[0]]++
		on[c.ARN]++
	}
	// Evenly would be 40 pods a port and 1000 a load balancer.
	if len(first) != 50 || slices.Max(slices.Collect(maps.Values(first))) > 100 {
		t.Errorf("first choices are %v", first)
	}
	if on["a"] < pods/3 || on["b"] < pods/3 {
		t.Errorf("load balancers are %v", on)
	}
}

// TestEveryPortIsChosenOnceUntilExhausted claims a pool to the last port. No port is
// chosen twice, and the pool is exhausted exactly when none is left.
func TestEveryPortIsChosenOnceUntilExhausted(t *testing.T) {
	lb := pool.Candidate{ARN: "a", Ranges: []pool.Range{{From: 100, To: 119}}, Taken: map[int]bool{}, Limit: 50}
	for i := range 20 {
		c, err := pool.Choose([]pool.Stock{lb.Stock()}, request(1, fmt.Sprint(i)))
		if err != nil {
			t.Fatalf("after %d ports: %v", i, err)
		}
		if lb.Taken[c.Ports[0]] {
			t.Fatalf("port %d is given twice", c.Ports[0])
		}
		lb.Taken[c.Ports[0]] = true
		lb.Listeners++
	}
	if c, err := pool.Choose([]pool.Stock{lb.Stock()}, request(1, "late")); !errors.Is(err, pool.ErrExhausted) {
		t.Errorf("got %v, %v", c, err)
	}
}
