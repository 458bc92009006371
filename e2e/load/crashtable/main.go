// Crashtable spoils every remote call of an agent's life, to AWS, to the allocator
// and to the API server, in every way that a call can go wrong, while the agent
// survives, is killed and restarted, or dies with its pod. Whatever happens, a pod
// that lives must end bound, one that goes must be cleanly released, nothing may be
// left over, and a call that was held up on its way and arrives much later, perhaps
// when the port has another holder, must change nothing of others'.
//
// Which calls there are is not written down here: undisturbed lives show them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

func main() { os.Exit(run()) }

func run() int {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	only := flag.String("only", "", "play only the cases whose name has this in it")
	agents := flag.Int("agents", defaultAgents, "how many busy agents run at once")
	logs := flag.String("logs", "", "file to write the logs of all parts to when a case fails")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := crashtable(ctx, *only, *agents, *logs, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "crashtable: failed:", err)
		return 1
	}
	return 0
}

// crashtable plays the whole table, or the cases with only in their names.
func crashtable(ctx context.Context, only string, agents int, logs string, out io.Writer) (err error) {
	kube, err := kubeapi.Start(ctx, kubeapi.Config{Progress: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kube.Close()) }()
	defer func() { err = errors.Join(err, rig.RemovePrograms()) }()
	output := io.Discard
	if logs != "" {
		file, err := os.Create(logs)
		if err != nil {
			return fmt.Errorf("making a file for the logs: %w", err)
		}
		defer file.Close() //nolint:errcheck // logs are for people
		output = file
	}
	var stages []*stage
	var trials []trial
	for _, l := range lives {
		s, err := newStage(ctx, kube, l, output)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
		calls, err := s.watchLife(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "a pod with %s makes %d calls\n", l.name, len(calls))
		stages, trials = append(stages, s), append(trials, cases(s, calls)...)
	}
	trials = matching(trials, only)
	// A shuffled order spreads those that only wait over the whole time.
	rand.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
	t := newTable(out, trials)
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
