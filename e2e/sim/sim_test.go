package sim

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds = flag.Int("seeds", 50, "how many seeds to simulate, from 1 on")
	seed  = flag.Uint64("seed", 0, "the one seed to simulate, with its whole history")
	loss  = flag.Bool("losses", false, "have people delete Leases; only what holds even then is checked")
	hard  = flag.Bool("hard-moves", false, "let a pod that gets another address leave the old one to others at once")
)

// events is how often something happens in one run.
const events = 30

// simulate runs one seed in a bubble of its own.
func simulate(t *testing.T, c Config) (r Report, err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { r, err = Run(c) })
	return r, err
}

// shown is the last of a history that a violation is printed with.
const shown = 60

func explain(r Report, err error) string {
	return fmt.Sprintf("seed %d: %v\n\nThe last %d lines of %d:\n%s\n\nReplay it with: make sim SEED=%d",
		r.Seed, err, shown, len(r.History), strings.Join(r.History[max(0, len(r.History)-shown):], "\n"), r.Seed)
}

func TestSim(t *testing.T) {
	if *seed != 0 {
		r, err := simulate(t, Config{Seed: *seed, Events: events, HardMoves: *hard, Losses: *loss})
		t.Log("\n" + strings.Join(r.History, "\n"))
		if err != nil {
			t.Fatal(explain(r, err))
		}
		fmt.Println("sim: 1 seeds, 0 violations")
		return
	}
	faults, reached := make(map[string]int), make(map[string]int)
	steps, took, broken, digest := 0, time.Duration(0), 0, sha256.New()
	for n := range *seeds {
		r, err := simulate(t, Config{Seed: uint64(n + 1), Events: events, HardMoves: *hard, Losses: *loss})
		if err != nil {
			broken++
			t.Error(explain(r, err))
		}
		steps, took = steps+len(r.History), took+r.Took
		fmt.Fprintln(digest, r.History)
		add(faults, r.Faults)
		add(reached, r.Reached)
	}
	t.Logf("%d steps, %v of simulated time, digest of all histories %x\ncalls:\n%s\nreached:\n%s",
		steps, took.Round(time.Second), digest.Sum(nil)[:8], showCounts(faults), showCounts(reached))
	fmt.Printf("sim: %d seeds, %d violations\n", *seeds, broken)
}

func add(sum, one map[string]int) {
	for _, k := range slices.Sorted(maps.Keys(one)) {
		sum[k] += one[k]
	}
}

func TestASeedAlwaysHasTheSameHistory(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 4, 5} {
		first, errFirst := simulate(t, Config{Seed: n, Events: events, HardMoves: *hard, Losses: *loss})
		second, errSecond := simulate(t, Config{Seed: n, Events: events, HardMoves: *hard, Losses: *loss})
		if !errors.Is(errFirst, errSecond) && fmt.Sprint(errFirst) != fmt.Sprint(errSecond) {
			t.Errorf("seed %d ended with %v and then with %v", n, errFirst, errSecond)
		}
		for i, line := range first.History {
			if i >= len(second.History) || second.History[i] != line {
				t.Errorf("seed %d went another way at line %d:\n%s\n%s", n, i+1, line, strings.Join(second.History[i:min(i+1, len(second.History))], ""))
				break
			}
		}
		if len(first.History) != len(second.History) {
			t.Errorf("seed %d had %d lines and then %d", n, len(first.History), len(second.History))
		}
	}
}
