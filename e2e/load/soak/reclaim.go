package soak

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// sample is the reclaim of one port from a pod that is gone.
type sample struct {
	// took is the time from when the API server had no such pod, or had it as failed,
	// until the port was observed free. bound is how long that should take at most.
	took, bound time.Duration
	// stable is true if no allocator failed meanwhile, nor so shortly before that a
	// replica might still have waited to become leader.
	stable bool
}

const (
	// podCheckEvery is how often the janitor checks whether the pod of an expired claim
	// is gone.
	podCheckEvery = claimDuration / 8
	// electionTime is how long there may be no leader after the leader was killed: its
	// lease of 15 s and a retry.
	electionTime = 18 * time.Second
	// deletesTime allows for the deletions of one binding and for a busy machine.
	deletesTime = time.Second
)

// reclaimBound is how long reclaiming a port takes at most once its claim has expired:
// a pod check, a sweep that begins the release and deletes the binding, the cooldown,
// and a sweep that ends it.
const reclaimBound = podCheckEvery + sweepEvery + deletesTime + cooldown + sweepEvery

// measureLocked records how long reclaiming a port took, if the janitor reclaimed it.
func (j *checker) measureLocked(name string, now ledger.Port) {
	lost, known := j.reclaimed[name]
	delete(j.reclaimed, name)
	if !known || lost.generation != now.Generation {
		return
	}
	removedAt := j.registry.snapshot(lost.of).removedAt
	if removedAt.IsZero() {
		return // it is free before the API server's answer came: there is nothing to measure
	}
	s := sample{
		took: time.Since(removedAt), bound: max(lost.renewed.Add(claimDuration).Sub(removedAt), 0) + reclaimBound,
		stable: j.failing == 0 && j.stable.Before(removedAt.Add(-electionTime)),
	}
	j.samples = append(j.samples, s)
	if s.took > s.bound {
		j.history.log("port %s: free %v after %s was gone, which should have taken %v at most; no allocator failing: %v", name, s.took, lost.of.Name, s.bound, s.stable)
	}
}

// reclaims returns the samples of stable or of unstable times, shortest first.
func (j *checker) reclaims(stable bool) []sample {
	j.mu.Lock()
	defer j.mu.Unlock()
	some := slices.DeleteFunc(slices.Clone(j.samples), func(s sample) bool { return s.stable != stable })
	slices.SortFunc(some, func(a, b sample) int { return int(a.took - b.took) })
	return some
}

// quantile returns the smallest sample that is not less than that part of all samples.
func quantile(sorted []sample, part float64) time.Duration {
	at := int(float64(len(sorted))*part+0.999999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)].took
}

// printReclaims prints one line of the distribution.
func printReclaims(out io.Writer, when string, sorted []sample) {
	if len(sorted) == 0 {
		fmt.Fprintf(out, "%s\t0\t\t\t\t\t\t\n", when)
		return
	}
	late, most := 0, time.Duration(0)
	for _, s := range sorted {
		if over := s.took - s.bound; over > 0 {
			late, most = late+1, max(most, over)
		}
	}
	fmt.Fprintf(out, "%s\t%d", when, len(sorted))
	for _, part := range []float64{0, 0.5, 0.9, 0.99, 1} {
		fmt.Fprintf(out, "\t%.1f s", quantile(sorted, part).Seconds())
	}
	fmt.Fprintf(out, "\t%d, by %.1f s\n", late, most.Seconds())
}
