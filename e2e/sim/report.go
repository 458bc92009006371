package sim

import (
	"fmt"
	"time"
)

// Report is the result of a run.
type Report struct {
	Seed  uint64
	Steps int
	// History is every step as text.
	History []string
	// Faults counts the calls by kind and fault.
	Faults map[string]int
	// Events counts the events by kind.
	Events map[string]int
	// Begun is the number of the last event that had begun.
	Begun int
	// Reclaims is how long ports took to be free once their pod was gone. InUse is how
	// long AWS reports that a target group is in use.
	Reclaims []time.Duration
	InUse    time.Duration
	// Took is its length on the simulated clock.
	Took time.Duration
	// Day is what happened in the day of a large installation, and Digest is of its history.
	Day string
	// Came and Went are how many pods were created and removed.
	Came, Went int
	Digest     string
	// Reached counts what happened: grants, reclaims and the like.
	Reached map[string]int
}

// Totals says how many pods came and went, and how many calls there were.
func (r Report) Totals() string {
	calls := 0
	for _, n := range r.Faults {
		calls += n
	}
	return fmt.Sprintf("%d pods came and %d went, %d calls", r.Came, r.Went, calls)
}
