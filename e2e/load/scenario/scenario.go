// Package scenario runs load scenarios: programs that put an installation under load
// and measure or check it. Main parses the command line, starts the API server that
// the scenario needs, plays it, and removes everything afterwards.
package scenario

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"k8s.io/klog/v2"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

// Scenario is one subcommand.
type Scenario struct {
	// Name is the subcommand; the closing line begins with it.
	Name string
	// Summary is one line in the list of scenarios.
	Summary string
	// Audit makes the API server record every request.
	Audit bool
	// Configure declares the flags and returns the function that plays the scenario.
	// That function prints the closing line, and returns an error if a promise is
	// broken. It runs after the flags have been parsed.
	Configure func(*flag.FlagSet) func(context.Context, *Stage) error
}

// Stage is what a scenario plays on.
type Stage struct {
	// Kube is an API server without any objects of portlease.
	Kube *kubeapi.API
	// Out takes progress and results; Progress takes the lines of program builds.
	Out, Progress io.Writer
}

// Say prints one line of progress.
func (s *Stage) Say(format string, args ...any) { fmt.Fprintf(s.Out, "- "+format+"\n", args...) }

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 128 + int(syscall.SIGINT)
)

// Main runs the scenario that args name, and returns the exit code of the process.
func Main(scenarios []Scenario, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printUsage(scenarios, stderr)
		return exitUsage
	}
	if strings.TrimLeft(args[0], "-") == "help" || args[0] == "-h" {
		printUsage(scenarios, stdout)
		return 0
	}
	for _, s := range scenarios {
		if s.Name == args[0] {
			return s.main(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "load: there is no scenario %q\n", args[0])
	printUsage(scenarios, stderr)
	return exitUsage
}

func printUsage(scenarios []Scenario, out io.Writer) {
	fmt.Fprint(out, "usage: go run ./e2e/load SCENARIO [flags]\n\nscenarios:\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range scenarios {
		fmt.Fprintf(table, "  %s\t%s\n", s.Name, s.Summary)
	}
	if err := table.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
	fmt.Fprint(out, "\nSCENARIO --help lists the flags of one.\n")
}

func (s Scenario) main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(s.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s: %s\n", s.Name, s.Summary)
		flags.PrintDefaults()
	}
	play := s.Configure(flags)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s: unexpected argument %q\n", s.Name, flags.Arg(0))
		return exitUsage
	}
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // leader election logs drown the results
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err = s.play(ctx, play, &Stage{Out: stdout, Progress: stderr})
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintf(stderr, "%s: interrupted: %v\n", s.Name, err)
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(stderr, "%s: failed: %v\n", s.Name, err)
		return exitFailed
	}
	return 0
}

func (s Scenario) play(ctx context.Context, play func(context.Context, *Stage) error, stage *Stage) (err error) {
	stage.Say("starting a Kubernetes API server (the first time it is built, which takes minutes)")
	if stage.Kube, err = kubeapi.Start(ctx, kubeapi.Config{Audit: s.Audit, Progress: stage.Progress}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Kube.Close()) }()
	defer func() { err = errors.Join(err, rig.RemovePrograms()) }()
	return play(ctx, stage)
}

// RunTests runs the tests of a scenario's package with one API server for all of them,
// which it stores in kube. It returns the exit code for TestMain.
func RunTests(m interface{ Run() int }, kube **kubeapi.API) int {
	return kubeapi.Main(kubeapi.Config{}, func(k *kubeapi.API) int {
		defer rig.RemovePrograms() //nolint:errcheck // only a cache
		*kube = k
		return m.Run()
	})
}
