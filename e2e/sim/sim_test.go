package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds   = flag.Int("seeds", 200, "how many seeds to simulate")
	from    = flag.Uint64("from", 1, "the first of them")
	workers = flag.Int("workers", runtime.GOMAXPROCS(0), "how many seeds to simulate at once")
	seed    = flag.Uint64("seed", 0, "the one seed to simulate, with its whole history")
	keep    = flag.String("keep", "", "the numbers of the events to keep, such as 3,7,9; with -seed")
	without = flag.String("without", "", "kinds of faults to leave out, such as slow,throttled; with -seed")
	losses  = flag.Bool("losses", false, "let admins delete Leases with every seed, not only with some")
	damage  = flag.Bool("damage", false, "let operators delete and change bindings in AWS with every seed")
	shrink  = flag.Duration("shrink", 20*time.Second, "how long to look for a smaller run that breaks the same guarantee; 0: not at all")
	hard    = flag.Bool("hard-moves", false, "keep the calls of a killed agent when its pod gets another IP")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a run is short and small, and there are many
	os.Exit(m.Run())
}

// events is how often something happens in one run.
const events = 30

// configOf is what a seed simulates. Leases are deleted with some seeds, but not where
// bindings are damaged too: a lost claim is adopted by its binding in AWS.
func configOf(n uint64) Config {
	return Config{
		Seed: n, Events: events, HardMoves: *hard, Damage: *damage || n%8 == 4, Losses: *losses || n%8 == 0 && !*damage,
		Broken: n%8 == 2 || n%8 == 7,
	}
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

// TestSeedAlwaysHasTheSameHistory runs seeds alone and then all at once.
func TestSeedAlwaysHasTheSameHistory(t *testing.T) {
	for _, c := range []Config{configOf(1), configOf(2), configOf(3), configOf(8), {Seed: 5, Events: events, Damage: true}} {
		first, errFirst := simulate(t, c)
		t.Run(fmt.Sprint("seed ", c.Seed), func(t *testing.T) {
			t.Parallel()
			second, errSecond := simulate(t, c)
			if fmt.Sprint(errFirst) != fmt.Sprint(errSecond) {
				t.Errorf("it ended with %v and then with %v", errFirst, errSecond)
			}
			for i, line := range first.History {
				if i >= len(second.History) || second.History[i] != line {
					t.Errorf("it went another way at line %d:\n%s\n%s", i+1, line, strings.Join(second.History[i:min(i+1, len(second.History))], ""))
					break
				}
			}
			if len(first.History) != len(second.History) {
				t.Errorf("it had %d lines and then %d", len(first.History), len(second.History))
			}
		})
	}
}
