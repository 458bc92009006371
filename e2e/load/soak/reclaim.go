package soak

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// sample is one port that was taken back from a pod that was gone.
type sample struct {
	// took is from when the API server no longer had the pod, or had it as failed, to
	// when the port was seen free; bound is how long it should take at most.
	took, bound time.Duration
	// calm is that no allocator failed meanwhile, nor so shortly before that another
	// might still have waited to lead.
	calm bool
}

const (
	// looksEvery is how often the janitor looks whether the pod of an expired claim is
	// gone.
	looksEvery = claimDuration / 8
	// electionTakes is how long there may be no leader after one was killed: its lease
	// of 15 s and a retry.
	electionTakes = 18 * time.Second
	// deletesTake is what is allowed for the deletions of one binding, and for this
	// machine's being busy.
	deletesTake = time.Second
)

// afterExpiry is how long taking a port back takes at most once its claim has
// expired: a look, a sweep that lets go and deletes, the cooldown, and a sweep that
// opens.
const afterExpiry = looksEvery + sweepEvery + deletesTake + cooldown + sweepEvery

// measureLocked notes how long it took to take a port back, if it was.
func (j *judge) measureLocked(name string, now ledger.Port) {
	lost, known := j.taken[name]
	delete(j.taken, name)
	if !known || lost.generation != now.Generation {
		return
	}
	gone := j.books.read(lost.of).gone
	if gone.IsZero() {
		return // it is free before the API server's answer came: there is nothing to measure
	}
	s := sample{
		took: time.Since(gone), bound: max(lost.renewed.Add(claimDuration).Sub(gone), 0) + afterExpiry,
		calm: j.disturbed == 0 && j.calm.Before(gone.Add(-electionTakes)),
	}
	j.samples = append(j.samples, s)
	if s.took > s.bound {
		j.diary.note("port %s: free %v after %s was gone, which should have taken %v at most; no allocator failing: %v", name, s.took, lost.of.Name, s.bound, s.calm)
	}
}

// reclaims are the measured ones, shortest first, of calm times or of storms.
func (j *judge) reclaims(calm bool) []sample {
	j.mu.Lock()
	defer j.mu.Unlock()
	some := slices.DeleteFunc(slices.Clone(j.samples), func(s sample) bool { return s.calm != calm })
	slices.SortFunc(some, func(a, b sample) int { return int(a.took - b.took) })
	return some
}

// quantile of what is sorted: the smallest that is at least as large as that part of
// all.
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
