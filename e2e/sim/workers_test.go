package sim

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// progressEvery is how often a long run reports its progress.
const progressEvery = 30 * time.Second

// tally sums up many seeds. The result does not depend on how many ran at once.
type tally struct {
	started time.Time

	mu          sync.Mutex // guards all below
	next        int        // the next seed's place
	done        int
	broken      []uint64 // seeds
	steps       int
	took        time.Duration
	told        time.Time
	digests     [][sha256.Size]byte // by the seed's place
	faults      map[string]int
	reached     map[string]int
	eventCounts map[string]int
}

func newTally(n int) *tally {
	return &tally{
		started: time.Now(), told: time.Now(), digests: make([][sha256.Size]byte, n),
		faults: make(map[string]int), reached: make(map[string]int), eventCounts: make(map[string]int),
	}
}

// take returns the place of the next seed; false if there is none.
func (y *tally) take() (int, bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.next++
	return y.next - 1, y.next <= len(y.digests)
}

func (y *tally) add(place int, r Report, err error) {
	digest := sha256.Sum256([]byte(strings.Join(r.History, "\n")))
	y.mu.Lock()
	defer y.mu.Unlock()
	y.done++
	if err != nil {
		y.broken = append(y.broken, r.Seed)
	}
	y.steps, y.took, y.digests[place] = y.steps+len(r.History), y.took+r.Took, digest
	for sum, one := range map[*map[string]int]map[string]int{&y.faults: r.Faults, &y.reached: r.Reached, &y.eventCounts: r.Events} {
		for k, n := range one {
			(*sum)[k] += n
		}
	}
	if time.Since(y.told) >= progressEvery {
		y.told = time.Now()
		fmt.Fprintf(os.Stderr, "sim: %d of %d seeds, %d violations, %s\n", y.done, len(y.digests), len(y.broken), y.speed())
	}
}

func (y *tally) speed() string {
	return fmt.Sprintf("%.1f seeds/s", float64(y.done)/time.Since(y.started).Seconds())
}

func (y *tally) summary() string {
	all := sha256.New()
	for _, d := range y.digests {
		all.Write(d[:])
	}
	slices.Sort(y.broken)
	return fmt.Sprintf("%d steps, %v of simulated time, %s, digest of all histories %x, seeds with violations %v\ncalls:\n%s\nevents:\n%s\nreached:\n%s",
		y.steps, y.took.Round(time.Second), y.speed(), all.Sum(nil)[:8], y.broken, showCounts(y.faults), showCounts(y.eventCounts), showCounts(y.reached))
}

// runSeeds simulates many seeds, several at once.
func runSeeds(t *testing.T) {
	t.Helper()
	y := newTally(*seeds)
	t.Run("seeds", func(t *testing.T) {
		for n := range *workers {
			t.Run(fmt.Sprint("worker ", n+1), func(t *testing.T) {
				t.Parallel()
				for place, more := y.take(); more; place, more = y.take() {
					c := configOf(*from + uint64(place))
					r, err := simulate(t, c)
					if err != nil {
						t.Error(explain(t, c, r, err))
					}
					y.add(place, r, err)
				}
			})
		}
	})
	t.Log(y.summary())
	fmt.Printf("sim: %d seeds, %d violations\n", *seeds, len(y.broken))
}
