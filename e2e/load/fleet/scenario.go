// Package fleet starts or stops hundreds of pods at once against AWS's token buckets.
// It measures how close the total time comes to the time that the tokens alone take.
//
// Agents and allocators are the real ones; AWS is the emulator with the buckets and the
// delays that AWS publishes: calls miss new target groups and listeners, and target groups
// are in use for a while after their listener was deleted. Only the clock of AWS, and the
// settings of allocators and agents that go with it, run faster. Everything else keeps its
// speed, so the durations of calls weigh that many times heavier than against AWS.
package fleet

import (
	"context"
	"errors"
	"flag"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// Start measures the start of a fleet. Agents and allocators run in this process.
var Start = scenario.Scenario{
	Name:    "fleet",
	Summary: "start hundreds of pods at once against AWS's rate limits, and measure how long it takes",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		return configure(flags, 300, 2).play
	},
}

// Stop measures how a bound fleet stops. Agents run as processes, because a pod that
// does not stop in time is killed.
var Stop = scenario.Scenario{
	Name:    "fleet-stop",
	Summary: "stop all bound pods at once against AWS's rate limits, and measure how long it takes",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		f := configure(flags, 50, 1)
		f.grace = grace
		return f.play
	},
}

// grace is the default termination grace period of Kubernetes.
const grace = 30 * time.Second

// The promises about a fleet. A start may take some seconds longer than its tokens: the last
// pod waits for AWS's delays, and the budget leaves a second's tokens unused.
const (
	mostOver      = 4.0   // seconds
	mostOfBound   = 1.025 // times the time that the tokens take, on top: 1.045 for 300 pods
	mostOfStop    = 1.10  // times the time that the tokens take and the last target group is in use
	mostThrottled = 0.1   // percent of all calls
	mostRefused   = 2.0   // percent of all deletions
)

func configure(flags *flag.FlagSet, pods int, speed float64) *fleet {
	f := new(fleet)
	scenario.CountFlag(flags, &f.pods, "pods", pods, "number of pods")
	flags.Float64Var(&f.speed, "speed", speed, "how many times faster than AWS's the clock of its buckets and delays runs")
	flags.DurationVar(&f.slow, "slow", 0, "by how much later each answer of the Kubernetes API comes to the allocators")
	flags.StringVar(&f.logs, "logs", "", "file to write all logs to")
	return f
}

// play starts the fleet and, with a grace period, stops it. It prints the results.
func (f *fleet) play(ctx context.Context, stage *scenario.Stage) (err error) {
	f.Stage = stage
	if err := f.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.abandon(context.WithoutCancel(ctx))) }()
	r, err := f.bind(ctx)
	if err != nil {
		return err
	}
	if f.grace == 0 {
		return r.print(f.Out)
	}
	if r, err = f.stop(ctx); err != nil {
		return err
	}
	return r.printStop(f.Out)
}
