// Fleet starts hundreds of pods at once against AWS's token buckets and says how
// close the last of them came to the time that the tokens alone take; or it stops
// them together, and says the same of when all is given back.
//
// The agents and the three allocators are the real ones, in this process or, to be
// stopped, in processes of their own; the API server is a real one; AWS is the emulator with the buckets that AWS publishes.
// Only the buckets' clock runs faster, and the allocators are told of a refill
// that is as much faster. Nothing else is: so the times that calls take weigh as
// many times heavier here as against AWS. The emulator's propagation delays are
// off, since they are the same for one pod and for hundreds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

func main() { os.Exit(run()) }

// grace is Kubernetes' own for a pod to stop in.
const grace = 30 * time.Second

// What is promised of a fleet.
const (
	mostOfBound   = 1.05 // times the time that the tokens take, for a start
	mostOfStop    = 1.10 // the same, for a stop
	mostThrottled = 1.0  // percent of all calls
)

func run() int {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // the allocators' elections are of no interest here
	f := fleet{out: os.Stdout}
	flag.IntVar(&f.pods, "pods", 300, "how many pods start at once")
	flag.Float64Var(&f.speed, "speed", 2, "how many times faster than AWS's the buckets' clock runs")
	stop := flag.Bool("stop", false, "stop all pods together once they are bound, and measure that")
	flag.StringVar(&f.logs, "logs", "", "file to write all logs to")
	flag.Parse()
	if *stop {
		f.grace = grace
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	result, err := play(ctx, f)
	switch {
	case err != nil:
	case *stop:
		err = result.printStop(os.Stdout)
	default:
		err = result.print(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet: failed:", err)
		return 1
	}
	return 0
}

// play starts everything, plays and stops everything.
func play(ctx context.Context, f fleet) (result result, err error) {
	f.say("starting a Kubernetes API server (etcd and kube-apiserver; the first time they are built, which takes minutes)")
	kube, err := kubeapi.Start(ctx, kubeapi.Config{Progress: os.Stderr})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, kube.Close()) }()
	defer func() { err = errors.Join(err, rig.RemovePrograms()) }()
	if err := f.start(ctx, kube); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, f.abandon(context.WithoutCancel(ctx))) }()
	if result, err = f.bind(ctx); err != nil || f.grace == 0 {
		return result, err
	}
	return f.stop(ctx)
}
