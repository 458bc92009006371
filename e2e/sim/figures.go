package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/ledgermem"
)

// figures are what is measured in the day of a large installation.
type figures struct {
	mu sync.Mutex // guards all below
	// calls counts requests of agents, and failed those that failed, by what they ask for.
	calls, failed map[string]int
	// waits is how long pods waited from their creation to their first announcement.
	waits []podWait
	// disturbed are the times in which something was broken on purpose.
	disturbed []wait
	// allBound is when the first fleet was bound.
	allBound time.Duration
	leases   int // at their peak
}

// wait is a time that began and ended.
type wait struct{ from, to time.Time }

// podWait is one of a pod.
type podWait struct {
	wait
	pod string
}

func newFigures() *figures {
	return &figures{calls: make(map[string]int), failed: make(map[string]int)}
}

// answered records the answer of a request.
func (w *World) answered(what string, r reply, err error) {
	w.day.mu.Lock()
	defer w.day.mu.Unlock()
	w.day.calls[what]++
	switch {
	case errors.Is(err, errKilled): // nobody asks any more
	case err != nil:
		w.day.failed[what+": no answer"]++
	case r.status >= http.StatusBadRequest:
		w.day.failed[fmt.Sprintf("%s: %d %s", what, r.status, problemCode(r.body))]++
	}
}

// problemCode is the code of a problem document.
func problemCode(body []byte) string {
	_, rest, _ := strings.Cut(string(body), `"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

// served records that a pod announces for the first time.
func (w *World) served(p *pod) {
	w.day.mu.Lock()
	defer w.day.mu.Unlock()
	if !p.served {
		p.served = true
		w.day.waits = append(w.day.waits, podWait{wait{p.created, time.Now()}, p.name})
	}
}

// disturb records that something is broken from now on for a time.
func (w *World) disturb(d time.Duration) {
	w.day.mu.Lock()
	defer w.day.mu.Unlock()
	w.day.disturbed = append(w.day.disturbed, wait{time.Now(), time.Now().Add(d)})
}

// peak records how many leases there are.
func (f *figures) peak(l *ledgermem.Ledger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leases = max(f.leases, leasesOf(l))
}

func leasesOf(l *ledgermem.Ledger) int {
	return l.Claims.Len() + l.Ports.Len() + l.Cordons.Len() + l.Budgets.Len()
}

// summary is a table of what happened.
func (f *figures) summary(w *World) string {
	if w.config.Day == nil {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var calm, all []time.Duration
	longest := podWait{pod: "none"}
	fleet := w.trace.start.Add(f.allBound)
	for _, one := range f.waits {
		all = append(all, one.to.Sub(one.from))
		if one.from.After(fleet) && !slices.ContainsFunc(f.disturbed, func(d wait) bool { return one.from.Before(d.to) && d.from.Before(one.to) }) {
			calm = append(calm, one.to.Sub(one.from))
			if one.to.Sub(one.from) > longest.to.Sub(longest.from) {
				longest = one
			}
		}
	}
	lines := []string{
		fmt.Sprintf("first fleet bound after    %v", f.allBound.Round(time.Second)),
		fmt.Sprintf("pods served                %d", len(f.waits)),
		"time to bind, undisturbed  " + spread(calm),
		fmt.Sprintf("the longest of these        %s, made %v after the start", longest.pod, longest.from.Sub(w.trace.start).Round(time.Second)),
		"time to bind, all          " + spread(all),
		fmt.Sprintf("leases                     %d at the peak, %d at the end: %d claims, %d ports", f.leases, leasesOf(w.leases), w.leases.Claims.Len(), w.leases.Ports.Len()),
	}
	for _, counts := range []map[string]int{f.calls, f.failed} {
		for _, what := range slices.Sorted(maps.Keys(counts)) {
			lines = append(lines, fmt.Sprintf("%-55s %d", what, counts[what]))
		}
	}
	return strings.Join(lines, "\n")
}

// spread describes durations by their quantiles.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(part float64) time.Duration {
		return all[int(part*float64(len(all)-1)+0.5)].Round(100 * time.Millisecond)
	}
	return fmt.Sprintf("%d pods, p50 %v, p95 %v, max %v", len(all), at(0.5), at(0.95), at(1))
}
