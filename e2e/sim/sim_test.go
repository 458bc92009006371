package sim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds   = flag.Int("seeds", 200, "how many seeds to simulate")
	from    = flag.Uint64("from", 1, "the first of them")
	workers = flag.Int("workers", 2, "how many seeds to simulate at once")
	seed    = flag.Uint64("seed", 0, "the one seed to simulate, with its whole history")
	keep    = flag.String("keep", "", "the numbers of the happenings to keep, such as 3,7,9; with -seed")
	without = flag.String("without", "", "kinds of faults to do without, such as slow,throttled; with -seed")
	losses  = flag.Bool("losses", false, "have people delete Leases with every seed, not only with some")
	damage  = flag.Bool("damage", false, "have people delete and change in AWS what is portlease's, with every seed")
	shrink  = flag.Duration("shrink", 20*time.Second, "how long to look for a smaller run that breaks the same guarantee; 0: not at all")
	hard    = flag.Bool("hard-moves", false, "let a pod that gets another address leave the old one to others at once")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a run is short and small, and there are many
	os.Exit(m.Run())
}

// events is how often something happens in one run.
const events = 30

// configOf is what a seed simulates; in some, people delete Leases, which nobody
// could tell from damage in AWS if both were in one run.
func configOf(n uint64) Config {
	return Config{Seed: n, Events: events, HardMoves: *hard, Damage: *damage, Losses: *losses || n%8 == 0 && !*damage}
}

// simulate runs one seed in a bubble of its own.
func simulate(t *testing.T, c Config) (r Report, err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { r, err = Run(c) })
	return r, err
}

func TestSim(t *testing.T) {
	if *seed == 0 {
		runSeeds(t)
		return
	}
	c := configOf(*seed)
	var err error
	if c.Keep, err = numbers(*keep); err != nil {
		t.Fatal(err)
	}
	c.Without = words(*without)
	r, err := simulate(t, c)
	t.Log("\n" + strings.Join(r.History, "\n"))
	if err != nil {
		t.Fatal(explain(t, c, r, err))
	}
	fmt.Println("sim: 1 seeds, 0 violations")
}

func TestASeedAlwaysHasTheSameHistory(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 4, 8} {
		first, errFirst := simulate(t, configOf(n))
		second, errSecond := simulate(t, configOf(n))
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
