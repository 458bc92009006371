// The demo runs the main job on one machine, without AWS and without a cluster:
// a real Kubernetes API server, emulated load balancers that really listen, an
// allocator, and six game-server pods with their agents and games as processes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/rig"
)

func main() { os.Exit(run()) }

func run() int {
	hold := flag.Bool("hold", false, "stay up after the demo, until Ctrl-C, and say how to look around")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "demo: a pod gets its port, on one machine; no AWS, no cluster")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *hold); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "demo: stopped")
			return 130
		}
		fmt.Fprintln(os.Stderr, "demo: failed:", err)
		return 1
	}
	return 0
}

// Times that make a demo short. In production a claim lasts two minutes and a
// port cools down for two.
const (
	claimDuration = 4 * time.Second
	renewEvery    = time.Second
	cooldown      = 2 * time.Second
)

func demo(ctx context.Context, hold bool) (err error) {
	say("starting a Kubernetes API server (etcd and kube-apiserver; the first time they are built, which takes minutes)")
	kube, err := kubeapi.Start(ctx, kubeapi.Config{Progress: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kube.Close()) }()
	defer func() { err = errors.Join(err, rig.RemovePrograms()) }()
	say("starting two emulated network load balancers and two allocator replicas")
	system, err := rig.New(ctx, rig.Config{
		Kube: kube, Replicas: 2, LoadBalancers: 2, DataPlane: true, ClaimDuration: claimDuration, RenewEvery: renewEvery, Cooldown: cooldown,
		Output: os.Stderr, Progress: os.Stderr,
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, system.Close(closing))
	}()
	s := &story{Rig: system}
	for _, act := range []func(context.Context) error{s.bind, s.play, s.release, s.reclaim, s.audit} {
		if err := act(ctx); err != nil {
			if ctx.Err() == nil {
				system.DumpLogs()
			}
			return err
		}
	}
	fmt.Printf("demo: %d bound, %d answered, %d released, %d reclaimed, %d orphans\n", s.bound, s.answered, s.released, s.reclaimed, s.orphans)
	if !s.complete() {
		return errors.New("not everything happened that should have")
	}
	if hold {
		return s.hold(ctx)
	}
	return nil
}

func say(format string, args ...any) { fmt.Printf("- "+format+"\n", args...) }
