package crashtable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// defaultAgents is how many busy agents two CPUs can take; per busy agent, idle more
// may wait.
const (
	defaultAgents = 12
	idle          = 4
)

// table is all trials and their results.
type table struct {
	out    io.Writer
	trials []trial

	mu      sync.Mutex // guards all below
	results map[trialKey]error
	// playing are the trials under way. They are printed if an invariant is violated.
	playing map[trialKey]bool
}

// trialKey identifies a trial.
type trialKey string

func newTable(out io.Writer, trials []trial) *table {
	return &table{out: out, trials: trials, results: make(map[trialKey]error), playing: make(map[trialKey]bool)}
}

// progressEvery is the interval between lines of progress.
const progressEvery = 15 * time.Second

// play plays all trials with that many agents at once. A violated invariant ends it: it
// concerns the whole installation, and the trial that caused it can only be guessed.
func (t *table) play(ctx context.Context, agents int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	over := make(chan struct{})
	defer close(over)
	watching.Go(func() { t.watch(ctx, over, stop) })
	busy, waiting := make(chan struct{}, agents), make(chan struct{}, idle*agents)
	var trials sync.WaitGroup
	for _, one := range t.trials {
		trials.Go(func() {
			lane := busy
			if one.kind.waits {
				lane = waiting
			}
			select {
			case lane <- struct{}{}:
				defer func() { <-lane }()
			case <-ctx.Done():
				return
			}
			t.begin(one)
			t.end(ctx, one, one.play(ctx))
		})
	}
	trials.Wait()
	return context.Cause(ctx)
}

func (t *table) begin(one trial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.playing[trialKey(one.String())] = true
}

func (t *table) end(ctx context.Context, one trial, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := trialKey(one.String())
	delete(t.playing, key)
	if err != nil && ctx.Err() != nil {
		return // it was broken off
	}
	t.results[key] = err
	if err != nil {
		fmt.Fprintf(t.out, "failed: %v: %v\n", one, err)
	}
}

// watch checks the invariants every second and prints progress.
func (t *table) watch(ctx context.Context, over <-chan struct{}, stop context.CancelCauseFunc) {
	checks, progress := time.NewTicker(time.Second), time.NewTicker(progressEvery)
	defer checks.Stop()
	defer progress.Stop()
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-progress.C:
			t.mu.Lock()
			fmt.Fprintf(t.out, "%d of %d cases, %d under way\n", len(t.results), len(t.trials), len(t.playing))
			t.mu.Unlock()
		case <-checks.C:
			if err := t.check(ctx); err != nil && ctx.Err() == nil {
				stop(err)
				return
			}
		}
	}
}

func (t *table) check(ctx context.Context) error {
	checked := make(map[*stage]bool)
	for _, one := range t.trials {
		if checked[one.stage] {
			continue
		}
		checked[one.stage] = true
		if err := one.Check(ctx); err != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			var under []string
			for key := range t.playing {
				under = append(under, string(key))
			}
			slices.Sort(under)
			return fmt.Errorf("an invariant is violated: %w\nunder way:\n%s", err, strings.Join(under, "\n"))
		}
	}
	return nil
}

func (t *table) failed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, err := range t.results {
		if err != nil {
			n++
		}
	}
	return n
}

// print prints the table: a line for each call, a column for each kind of fault, and in
// each field a mark for each fate.
func (t *table) print() error {
	type line struct {
		podKind string
		at      call
	}
	fields := make(map[line]map[string]string)
	var lines []line
	ordered := slices.SortedStableFunc(slices.Values(t.trials), func(a, b trial) int {
		if a.stage != b.stage {
			return strings.Compare(a.name, b.name)
		}
		return a.number - b.number
	})
	t.mu.Lock()
	for _, one := range ordered {
		l := line{one.name, one.at}
		if fields[l] == nil {
			fields[l], lines = make(map[string]string), append(lines, l)
		}
		mark := "ok"
		if err, played := t.results[trialKey(one.String())]; !played {
			mark = "?"
		} else if err != nil {
			mark = "FAILED"
		}
		fields[l][one.kind.name] = strings.TrimSpace(fields[l][one.kind.name] + " " + mark)
	}
	t.mu.Unlock()
	out := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "\ncall")
	for _, k := range kinds {
		fmt.Fprintf(out, "\t%s", k.name)
	}
	for _, l := range lines {
		fmt.Fprintf(out, "\n%s: %v", l.podKind, l.at)
		for _, k := range kinds {
			fmt.Fprintf(out, "\t%s", fields[l][k.name])
		}
	}
	fmt.Fprintf(out, "\neach field: the agent survives, is killed and restarted, dies with its pod, as far as that can be\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	fmt.Fprintf(t.out, "crashtable: %d cases, %d failed\n", len(t.trials), t.failed())
	if t.failed() > 0 {
		return errors.New("agents did not recover from every fault")
	}
	return nil
}
