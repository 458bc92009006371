package sim

import (
	"fmt"
	"slices"
	"testing"

	"github.com/portlease/portlease/e2e/invariants"
)

// TestViolationIsShrunkToASmallRun breaks a part, and wants a small run that finds the
// same and can be replayed.
func TestViolationIsShrunkToASmallRun(t *testing.T) {
	t.Parallel()
	broken := mutants[slices.IndexFunc(mutants, func(m mutant) bool { return m.name == "the janitor does not check the pod" })]
	for n := range broken.within {
		c := Config{Seed: n + 1, Events: events, Break: broken.deps}
		r, err := simulate(t, c)
		if invariants.Guarantee(err) != "S4" {
			continue
		}
		small, smallest, tries, found := Shrink(c, func(c Config) (Report, error) { return simulate(t, c) }, func() bool { return true })
		t.Logf("seed %d: %d of %d events and %d of %d lines left after %d runs, without %v: %v", c.Seed, len(small.Keep), r.Begun, len(smallest.History), len(r.History), tries, small.Without, found)
		if invariants.Guarantee(found) != "S4" {
			t.Errorf("it was %v and became %v", err, found)
		}
		if len(small.Keep) > r.Begun/3 || len(smallest.History) > len(r.History)/2 {
			t.Errorf("%v are left of %d events", small.Keep, r.Begun)
		}
		again, err := simulate(t, small)
		if fmt.Sprint(err) != fmt.Sprint(found) || !slices.Equal(again.History, smallest.History) {
			t.Errorf("its replay ended with %v", err)
		}
		return
	}
	t.Fatalf("not broken within %d seeds", broken.within)
}

// TestShrinkingKeepsTheGuarantee shrinks runs that need several events at once. Fewer
// of them would violate another guarantee.
func TestShrinkingKeepsTheGuarantee(t *testing.T) {
	all := len(plan(Config{Seed: 1, Events: events}))
	run := func(c Config) (Report, error) {
		kept := func(n int) bool { return c.Keep == nil || slices.Contains(c.Keep, n) }
		r := Report{Seed: c.Seed, Begun: all}
		switch {
		case kept(5) && kept(20) && !slices.Contains(c.Without, string(lost)):
			r.Begun = 25
			return r, invariants.Violated("S1", "both")
		case kept(5):
			return r, invariants.Violated("S2", "one")
		}
		return r, nil
	}
	for _, c := range []struct {
		patience int
		keep     []int
	}{{1000, []int{5, 20}}, {0, nil}} {
		runs := 0
		small, _, tries, err := Shrink(Config{Seed: 1, Events: events}, func(c Config) (Report, error) { runs++; return run(c) }, func() bool { return runs < c.patience })
		if invariants.Guarantee(err) != "S1" || tries != runs || c.keep != nil && !slices.Equal(small.Keep, c.keep) || slices.Contains(small.Without, string(lost)) {
			t.Errorf("with patience for %d runs it made %d (it says %d) and kept %v without %v: %v", c.patience, runs, tries, small.Keep, small.Without, err)
		}
		if c.keep == nil && (runs != 1 || len(small.Keep) != 25) {
			t.Errorf("without patience it made %d runs and kept %v", runs, small.Keep)
		}
		if c.keep != nil && len(small.Without) != len(ratedFaults) {
			t.Errorf("it is still without %v only", small.Without)
		}
	}
	if _, _, tries, err := Shrink(Config{Seed: 1, Keep: []int{}}, run, func() bool { return true }); err != nil || tries != 1 {
		t.Errorf("a run that breaks nothing took %d tries and gave %v", tries, err)
	}
}
