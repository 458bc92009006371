package fleet

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
)

// result is one measurement.
type result struct {
	*fleet
	before, after map[string]elbemu.CallCount
	// took is the real time from the first PUT to the last endpoint, or from the first
	// SIGTERM until everything is released.
	took time.Duration
	puts *atomic.Int64
	// killed counts the agents that did not stop in time.
	killed *atomic.Int64
}

func newResult(f *fleet) result {
	return result{fleet: f, puts: new(atomic.Int64), killed: new(atomic.Int64)}
}

// makespan is took in seconds of the buckets' clock.
func (r result) makespan() float64 { return r.took.Seconds() * r.speed }

// of returns how many calls of an action were made and throttled.
func (r result) of(action string) (total, throttled int) {
	return r.after[action].Total - r.before[action].Total, r.after[action].Throttled - r.before[action].Throttled
}

// throttledPercent is the percentage of all calls, by any caller, that were throttled.
func (r result) throttledPercent() float64 {
	total, throttled := 0, 0
	for action := range r.after {
		n, refused := r.of(action)
		total, throttled = total+n, throttled+refused
	}
	return 100 * float64(throttled) / float64(max(total, 1))
}

// refused returns how many calls of an action AWS answered with another error.
func (r result) refused(action string) int {
	_, throttled := r.of(action)
	return r.after[action].Failed - r.before[action].Failed - throttled
}

// refusedPercent is the percentage of all deletions that AWS refused because a target group
// was in use.
func (r result) refusedPercent() float64 {
	return 100 * float64(r.refused("DeleteListener")+r.refused("DeleteTargetGroup")) / float64(max(r.deletes(), 1))
}

// table prints the calls of each action.
func (r result) table(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "calls\tthrottled\trefused\t\t\n")
	for _, action := range slices.Sorted(maps.Keys(r.after)) {
		if total, throttled := r.of(action); total > 0 {
			fmt.Fprintf(table, "%d\t%d\t%d\t\t%s\n", total, throttled, r.refused(action), action)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// print prints the result of a start. It returns an error if the promise is not kept.
func (r result) print(out io.Writer) error {
	if err := r.table(out); err != nil {
		return err
	}
	b := elbemu.PublishedBuckets().Mutating
	fmt.Fprintf(out, "%d PUTs; first PUT to last endpoint %.1f s at speed %v, that is %.1f s at AWS's; %d mutating calls less a burst of %v at %v a second take %.1f s\n",
		r.puts.Load(), r.took.Seconds(), r.speed, r.makespan(), 2*r.pods, b.Capacity, b.PerSecond, r.bound())
	fmt.Fprintf(out, "fleet: %d bound, makespan/bound %.3f, %.1f s over it, throttled %.2f%%\n",
		r.pods, r.makespan()/r.bound(), r.makespan()-r.bound(), r.throttledPercent())
	if r.makespan() > mostOfBound*r.bound()+mostOver || r.throttledPercent() > mostThrottled {
		return fmt.Errorf("it should be at most %v s more than %v times the bound, with at most %v%% throttled", mostOver, mostOfBound, mostThrottled)
	}
	return nil
}

// printStop is print for pods that stop together.
func (r result) printStop(out io.Writer) error {
	if err := r.table(out); err != nil {
		return err
	}
	b := elbemu.PublishedBuckets().Mutating
	window := delays().InUse.Seconds()
	fmt.Fprintf(out, "%d mutating calls less a burst of %v at %v a second take %.1f s, and a target group is in use for %.0f s after its listener was deleted\n",
		2*r.pods, b.Capacity, b.PerSecond, r.bound(), window)
	fmt.Fprintf(out, "first SIGTERM to all gone %.1f s at speed %v, that is %.1f s at AWS's; %d agents were killed after %v of grace, %d calls of DeleteListener and DeleteTargetGroup beyond the least\n",
		r.took.Seconds(), r.speed, r.makespan(), r.killed.Load(), r.grace, r.deletes()-2*r.pods)
	ratio := r.makespan() / (r.bound() + window)
	fmt.Fprintf(out, "fleet-stop: %d released, makespan/(bound+window) %.3f, throttled %.2f%%, refused deletions %.1f%%\n",
		r.pods, ratio, r.throttledPercent(), r.refusedPercent())
	if ratio > mostOfStop || r.throttledPercent() > mostThrottled || r.refusedPercent() > mostRefused {
		return fmt.Errorf("it should be at most %v times the bound and the window, with at most %v%% throttled and %v%% of the deletions refused",
			mostOfStop, mostThrottled, mostRefused)
	}
	return nil
}

func (r result) deletes() int {
	listeners, _ := r.of("DeleteListener")
	groups, _ := r.of("DeleteTargetGroup")
	return listeners + groups
}
