// Package demo runs the main job on one machine, without AWS and without a cluster.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// Demo plays the life of six game-server pods: their agents and games run as
// processes, against load balancers that really listen.
var Demo = scenario.Scenario{
	Name:    "demo",
	Summary: "six game-server pods get their ports and lose them again, on one machine; no AWS, no cluster",
	Configure: func(flags *flag.FlagSet) func(context.Context, *scenario.Stage) error {
		hold := flags.Bool("hold", false, "stay up after the demo, until Ctrl-C, and print how to look around")
		return func(ctx context.Context, stage *scenario.Stage) error { return demo(ctx, stage, *hold) }
	},
}

// These times keep the demo short. In production a claim lasts two minutes and a
// port cools down for two.
const (
	claimDuration = 4 * time.Second
	renewEvery    = time.Second
	cooldown      = 2 * time.Second
)

func demo(ctx context.Context, stage *scenario.Stage, hold bool) (err error) {
	stage.Say("starting two emulated network load balancers and two allocator replicas")
	system, err := rig.New(ctx, rig.Config{
		Kube: stage.Kube, Replicas: 2, LoadBalancers: 2, DataPlane: true, ClaimDuration: claimDuration, RenewEvery: renewEvery, Cooldown: cooldown,
		Output: os.Stderr, Progress: stage.Progress,
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, system.Close(closing))
	}()
	s := &story{Stage: stage, Rig: system}
	for _, act := range []func(context.Context) error{s.bind, s.play, s.release, s.reclaim, s.audit} {
		if err := act(ctx); err != nil {
			if ctx.Err() == nil {
				system.DumpLogs()
			}
			return err
		}
	}
	fmt.Fprintf(stage.Out, "demo: %d bound, %d answered, %d released, %d reclaimed, %d orphans\n", s.bound, s.answered, s.released, s.reclaimed, s.orphans)
	if !s.complete() {
		return errors.New("not everything happened that should have")
	}
	if hold {
		return s.hold(ctx)
	}
	return nil
}
