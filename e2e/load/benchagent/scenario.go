// Package benchagent measures what an agent costs while it holds its claim: memory,
// CPU time, calls to AWS and to the API server. It also measures what the renewals of
// a thousand pods cost the allocator.
//
// Agents and allocator run as processes, as they are shipped. The other callers are
// simulated: each has a pod, a token and a claim that it renews as an agent does, but
// no process. The kernel counts CPU time, so a busy machine changes it little.
package benchagent

import (
	"context"
	"errors"
	"flag"
	"io"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// BenchAgent is the measurement.
var BenchAgent = scenario.Scenario{
	Name:    "bench-agent",
	Summary: "measure what an agent costs while it holds its claim",
	Audit:   true,
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		b := new(bench)
		scenario.CountFlag(flags, &b.agents, "agents", 200, "agents that run as processes")
		flags.IntVar(&b.callers, "callers", 1000, "simulated callers beside them")
		flags.DurationVar(&b.length, "for", 2*time.Minute, "how long to measure")
		return b.play
	},
}

// bench is one measurement.
type bench struct {
	agents, callers int
	length          time.Duration

	*scenario.Stage
	*rig.Rig
	pods []*rig.Pod
	// from is the last call to AWS before the measurement.
	from uint64
}

func (b *bench) play(ctx context.Context, stage *scenario.Stage) (err error) {
	b.Stage = stage
	const each = 50 // listeners of a load balancer
	if b.Rig, err = rig.New(ctx, rig.Config{
		Kube: b.Kube, LoadBalancers: (b.agents + b.callers + each - 1) / each, Alone: true, ListenerPorts: "30000-30049",
		// The defaults of a real installation.
		ClaimDuration: 2 * time.Minute, RenewEvery: 30 * time.Second, SweepEvery: 2 * time.Second, AuditEvery: 5 * time.Minute, LogLevel: "info",
		Output: io.Discard, Progress: b.Progress,
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Abandon(context.WithoutCancel(ctx))) }()
	if err := b.bind(ctx); err != nil {
		return err
	}
	callers, err := b.call(ctx)
	if err != nil {
		return err
	}
	defer callers.stop()
	return b.measure(ctx, callers)
}
