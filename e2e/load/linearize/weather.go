package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/portlease/portlease/e2e/rig"
)

// fault is something bad that happens to a replica and ends.
type fault struct {
	name       string
	begin, end func(context.Context, *rig.Replica) error
}

var faults = []fault{
	{
		"killed",
		func(ctx context.Context, a *rig.Replica) error { return a.Kill(ctx) },
		func(ctx context.Context, a *rig.Replica) error { return a.Start(ctx) },
	},
	{
		"paused",
		func(_ context.Context, a *rig.Replica) error { return a.Pause() },
		func(_ context.Context, a *rig.Replica) error { return a.Resume() },
	},
	{
		"cut off from the API server",
		func(_ context.Context, a *rig.Replica) error { a.CutKubernetes(); return nil },
		func(_ context.Context, a *rig.Replica) error { a.Heal(); return nil },
	},
	{
		"cut off from AWS",
		func(_ context.Context, a *rig.Replica) error { a.CutAWS(); return nil },
		func(_ context.Context, a *rig.Replica) error { a.Heal(); return nil },
	},
}

// weather makes replicas fail, one or two at a time, until ctx ends. What has
// begun is ended all the same.
func (c *course) weather(ctx context.Context, rng *rand.Rand) error {
	ending := context.WithoutCancel(ctx)
	var errs []error
	for ctx.Err() == nil {
		pause(ctx, time.Duration(50+rng.IntN(200))*time.Millisecond)
		hit := rng.Perm(len(c.rig.Replicas))[:1+rng.IntN(2)]
		which := make([]fault, len(hit))
		for i, n := range hit {
			which[i] = faults[rng.IntN(len(faults))]
			errs = append(errs, which[i].begin(ending, c.rig.Replicas[n]))
		}
		pause(ctx, time.Duration(50+rng.IntN(250))*time.Millisecond)
		for i, n := range hit {
			errs = append(errs, which[i].end(ending, c.rig.Replicas[n]))
		}
	}
	return errors.Join(errs...)
}

// revive makes every replica serve again.
func (c *course) revive(ctx context.Context) error {
	for _, a := range c.rig.Replicas {
		if err := a.Revive(ctx); err != nil {
			return err
		}
	}
	return nil
}
