package sim

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

var reclaimSeeds = flag.Int("reclaim-seeds", 25, "how many seeds to measure the reclaiming of crashed pods' ports with")

// TestPortsOfCrashedPodsAreFreeInTime measures the time from the end of a pod until its
// port is free, while pods crash and nothing else goes wrong.
func TestPortsOfCrashedPodsAreFreeInTime(t *testing.T) {
	t.Parallel()
	took := make(map[time.Duration][]time.Duration) // AWS's lag of ResourceInUse → reclaims
	for n := range *reclaimSeeds {
		r, err := simulate(t, Config{Seed: uint64(n + 1), Events: events, Kinds: crashes, Calm: true})
		if err != nil {
			t.Errorf("seed %d: %v", r.Seed, err)
		}
		took[r.InUse] = append(took[r.InUse], r.Reclaims...)
		if late := slices.Max(append(r.Reclaims, 0)); late > reclaimBound(r.InUse) {
			t.Errorf("seed %d: a port was free after %v, want %v at most", r.Seed, late, reclaimBound(r.InUse))
		}
	}
	for _, inUse := range slices.Sorted(maps.Keys(took)) {
		all := took[inUse]
		slices.Sort(all)
		line := fmt.Sprintf("target groups in use for %v: %s, bound %v", inUse, quantiles(all), reclaimBound(inUse).Round(time.Second))
		fmt.Println("sim: ports of crashed pods,", line)
		// A port that is free sooner was not in cooldown.
		if len(all) == 0 || all[0] < cooldown*100/(100+maxDrift) {
			t.Errorf("%s: the shortest is less than the cooldown", line)
		}
	}
}

// quantiles summarizes sorted durations.
func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	at := func(part float64) time.Duration {
		return all[int(part*float64(len(all)-1)+0.5)].Round(100 * time.Millisecond)
	}
	return fmt.Sprintf("%d, min %v, median %v, p90 %v, p99 %v, max %v", len(all), at(0), at(0.5), at(0.9), at(0.99), at(1))
}
