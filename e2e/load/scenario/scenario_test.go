package scenario_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// none is a scenario that a wrong command line must not start.
func none(t *testing.T) scenario.Scenario {
	return scenario.Scenario{Name: "none", Summary: "do nothing", Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		scenario.CountFlag(flags, new(int), "pods", 3, "number of pods")
		return func(context.Context, *scenario.Stage) error {
			t.Error("the scenario was started")
			return nil
		}
	}}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"", 2, "", "do nothing"},
		{"--help", 0, "do nothing", ""},
		{"help", 0, "do nothing", ""},
		{"other", 2, "", `there is no scenario "other"`},
		{"none --help", 0, "", "number of pods (default 3)"},
		{"none -pods 0", 2, "", "it must be at least 1"},
		{"none more", 2, "", `unexpected argument "more"`},
	} {
		var stdout, stderr bytes.Buffer
		code := scenario.Main([]scenario.Scenario{none(t)}, strings.Fields(c.args), &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: code %d, stdout %q, stderr %q", c.args, code, stdout.String(), stderr.String())
		}
	}
}

func TestSeedIsDrawnOnlyIfNoneIsGiven(t *testing.T) {
	for args, drawn := range map[string]bool{"": true, "-seed=0": true, "-seed=7": false} {
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		seed := scenario.SeedFlag(flags)
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if first := seed(); first == 0 || first != seed() || drawn == (first == 7) {
			t.Errorf("%q: seed %d", args, first)
		}
	}
}

func TestPollReturnsTheLastErrorBeforeItsContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failure, calls := errors.New("not yet"), 0
	err := scenario.Poll(ctx, time.Millisecond, func() error {
		if calls++; calls < 3 {
			return failure
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, failure) || calls != 3 {
		t.Errorf("got %v after %d calls, want %v after 3", err, calls, failure)
	}
}
