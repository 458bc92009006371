// Agent measures what an agent costs while it holds its claim: memory, processor
// time, calls to AWS and to the API server; and what the renewals of a thousand
// pods cost the allocator.
//
// Agents and allocator are processes, as they are shipped; the API server is a real
// one and AWS the emulator. The other callers are simulated: each has a pod, a token
// and a claim that it renews as an agent does, and is no process.
//
// Processor time is counted by the kernel, so a busy machine changes it little. The
// figures of Agones' sidecar are those that were measured once on such a machine and
// are printed for comparison, not measured here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

// bench is one measurement.
type bench struct {
	agents, callers int
	lasts           time.Duration
	out             io.Writer

	*rig.Rig
	pods []*rig.Pod
	// from is the last call to AWS before it is measured.
	from uint64
}

func main() { os.Exit(run()) }

func run() int {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // the elections are of no interest here
	b := bench{out: os.Stdout}
	flag.IntVar(&b.agents, "agents", 200, "agents that run as processes")
	flag.IntVar(&b.callers, "callers", 1000, "simulated callers beside them")
	flag.DurationVar(&b.lasts, "for", 2*time.Minute, "how long to measure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.play(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-agent: failed:", err)
		return 1
	}
	return 0
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, "- "+format+"\n", args...) }

func (b *bench) play(ctx context.Context) (err error) {
	b.say("starting a Kubernetes API server (the first time it is built, which takes minutes)")
	kube, err := kubeapi.Start(ctx, kubeapi.Config{Progress: os.Stderr, Audit: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kube.Close()) }()
	defer func() { err = errors.Join(err, rig.RemovePrograms()) }()
	const each = 50 // listeners of a load balancer
	if b.Rig, err = rig.New(ctx, rig.Config{
		Kube: kube, LoadBalancers: (b.agents + b.callers + each - 1) / each, Alone: true, ListenerPorts: "30000-30049",
		// The defaults of a real installation.
		ClaimDuration: 2 * time.Minute, RenewEvery: 30 * time.Second, SweepEvery: 2 * time.Second, AuditEvery: 5 * time.Minute, LogLevel: "info",
		Output: io.Discard, Progress: os.Stderr,
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
