package fleet

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// crashSpeed is how many times faster than AWS's the clock runs while crashed pods are
// released. At AWS's own speed it would take ten minutes.
const crashSpeed = 4

// Crash is how the ports of pods came back that all crashed at once.
type Crash struct {
	// Took is the time at AWS's own speed from the crash until all ports were free or cooling
	// down and nothing was left in AWS. Least is what it takes at best: the claims expire, AWS
	// allows the deletions, and the last target group is in use for a while.
	Took, Least time.Duration
	// Throttled is the percentage of all calls.
	Throttled float64
}

// MeasureCrash starts a fleet and has all of its pods crash.
func MeasureCrash(ctx context.Context, stage *scenario.Stage, pods int) (Crash, error) {
	return measureCrash(ctx, &fleet{pods: pods, speed: crashSpeed, Stage: stage})
}

func measureCrash(ctx context.Context, f *fleet) (c Crash, err error) {
	if err := f.startBound(ctx); err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, f.abandon(context.WithoutCancel(ctx))) }()
	c.Least = time.Duration(f.ClaimDuration.Seconds()*f.speed*float64(time.Second)) + Bound(f.pods) + InUseWindow()
	f.Say("all %d pods crash; their ports can be free in %.0f s, which are %.0f s here", f.pods, c.Least.Seconds(), c.Least.Seconds()/f.speed)
	r := newResult(f)
	r.before = f.Emulator.CallCounts()
	began := time.Now()
	if err := f.crash(ctx); err != nil {
		return c, err
	}
	patience, cancel := context.WithTimeout(ctx, time.Duration(3*c.Least.Seconds()/f.speed*float64(time.Second))+time.Minute)
	defer cancel()
	last, err := f.waitReleased(patience)
	if err != nil {
		return c, err
	}
	r.after, r.took = f.Emulator.CallCounts(), last.Sub(began)
	c.Took, c.Throttled = time.Duration(r.makespan()*float64(time.Second)), r.throttledPercent()
	return c, f.Check(ctx)
}

// crash ends all agents, which reach nobody any more, and removes their pods.
func (f *fleet) crash(ctx context.Context) error {
	for _, p := range f.all {
		p.Cut()
		if err := p.Signal(); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for _, p := range f.all {
		group.Go(func() error { return p.Crash(ctx) })
	}
	return group.Wait()
}
