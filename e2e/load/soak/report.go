package soak

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// progress prints one line about the current state.
func (s *soak) progress(left time.Duration) {
	claims, ports, err := s.Leases(context.Background())
	if err != nil {
		fmt.Fprintf(s.Out, "  the ledger cannot be read: %v\n", err)
		return
	}
	unbound := make(map[string]bool) // claim leases that have a port that is not bound yet
	for _, p := range ports {
		unbound[p.Value.Holder] = unbound[p.Value.Holder] || p.Value.State != ledger.Bound
	}
	bound, waiting := 0, 0
	for _, c := range claims {
		switch {
		case c.Value.State == ledger.Granted && !unbound[c.Name]:
			bound++
		case c.Value.State == ledger.Waiting:
			waiting++
		}
	}
	running, made, ended := s.registry.counts()
	n := s.history.counts()
	fmt.Fprintf(s.Out, "  %v left: %d pods; claims: %d bound, %d waiting; %d started, %d ended; %d kills, %d pauses, %d restarts; %d reclaims\n",
		max(left, 0).Round(time.Second), running, bound, waiting, made, ended, n[kills], n[pauses], n[restarts], n[claimsTaken])
}

// report prints what happened and the closing line.
func (s *soak) report(played time.Duration, v verdict, stopped bool) {
	if len(v.violations)+len(v.leftovers) > 0 {
		fmt.Fprintln(s.Out, "\nthe newest of the history:")
		for _, line := range s.history.tail() {
			fmt.Fprintln(s.Out, " ", line)
		}
		for _, err := range v.violations {
			fmt.Fprintf(s.Out, "violation: %v\n", err)
		}
		for _, err := range v.leftovers {
			fmt.Fprintf(s.Out, "left over: %v\n", err)
		}
		fmt.Fprintf(s.Out, "the whole history, the logs of all parts, the ledger and what is in AWS are in %s\n", s.history.folder)
	}
	s.table()
	length := s.given
	if !stopped || played < s.length.Round(time.Second) {
		length = fmt.Sprintf("%v of %s", played, s.given)
	}
	left := fmt.Sprint(len(v.leftovers))
	if !v.searched {
		left = "unchecked"
	}
	fmt.Fprintf(s.Out, "soak: %s, %d violations, %s leftovers\n", length, len(v.violations), left)
}

// table prints all counters and how long reclaiming took.
func (s *soak) table() {
	n := s.history.counts()
	var rows []string
	for _, f := range podFaults {
		rows = append(rows, f.name)
	}
	for _, f := range replicaFaults {
		rows = append(rows, f.name)
	}
	rows = append(rows, podMade, addressReused, kills, pauses, restarts, failedCalls, endedInTime, endedLate, endedWithError,
		portsGranted, portsReleased, claimsTaken, portsTaken, portsReturned, portsFree)
	fmt.Fprintln(s.Out)
	out := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintf(out, "%d\t \t%s\n", n[row], row)
	}
	flush(out, s.Out)
	out = tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\nfrom pod gone to port free\tn\tmin\tmedian\tp90\tp99\tmax\tbeyond the bound")
	printReclaims(out, "no allocator failing", s.checker.reclaims(true))
	printReclaims(out, "allocators failing", s.checker.reclaims(false))
	flush(out, s.Out)
	fmt.Fprintf(s.Out, "bound: %v of claim since the last change seen, %v between checks of the pod, sweeps of %v, %v for deletes, %v of cooldown\n",
		claimDuration, podCheckEvery, sweepEvery, deletesTime, cooldown)
}

func flush(table *tabwriter.Writer, out io.Writer) {
	if err := table.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
}
