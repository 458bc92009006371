// Package crashtable makes every remote call of an agent's life fail in every way that
// a call can fail, whether the call goes to AWS, the allocator or the API server.
// Meanwhile the agent survives, is killed and restarted, or dies with its pod.
//
// In every case a pod that lives must end bound, a pod that ends must be released, and
// nothing may be left over. A call that was delayed and arrives much later, perhaps
// when the port has another holder, must change nothing that belongs to others.
//
// The list of calls is not written down: undisturbed lives record it.
package crashtable

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// CrashTable plays the whole table.
var CrashTable = scenario.Scenario{
	Name:    "crashtable",
	Summary: "make every call of an agent's life fail in every way, and check that the agent recovers",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		only := flags.String("only", "", "play only the cases whose name contains this")
		agents := flags.Int("agents", defaultAgents, "how many busy agents run at once")
		logs := flags.String("logs", "", "file to write all logs to when a case fails")
		return func(ctx context.Context, stage *scenario.Stage) error {
			return crashtable(ctx, stage, *only, *agents, *logs)
		}
	},
}

// crashtable plays the cases whose name contains only.
func crashtable(ctx context.Context, scene *scenario.Stage, only string, agents int, logs string) (err error) {
	output := io.Discard
	if logs != "" {
		file, err := os.Create(logs)
		if err != nil {
			return fmt.Errorf("creating the log file: %w", err)
		}
		defer file.Close() //nolint:errcheck // logs are for people
		output = file
	}
	var stages []*stage
	var trials []trial
	for _, l := range podKinds {
		s, err := newStage(ctx, scene.Kube, l, output)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
		calls, err := s.recordCalls(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(scene.Out, "a pod with %s makes %d calls\n", l.name, len(calls))
		stages, trials = append(stages, s), append(trials, cases(s, calls)...)
	}
	trials = matching(trials, only)
	// A shuffled order spreads the cases that only wait over the whole run.
	rand.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
	t := newTable(scene.Out, trials)
	if err := t.play(ctx, agents); err != nil {
		return err
	}
	if t.failed() > 0 {
		for _, s := range stages {
			s.DumpLogs()
		}
	}
	return t.print()
}

func matching(trials []trial, only string) []trial {
	var some []trial
	for _, t := range trials {
		if strings.Contains(t.String(), only) {
			some = append(some, t)
		}
	}
	return some
}
