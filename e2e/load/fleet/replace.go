package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// replaceSpeed is how many times faster than AWS's the clock runs while pods are replaced.
const replaceSpeed = 4

// lifeCalls are the mutating calls of one pod's start and of one's end.
const lifeCalls = 4

// Replacement is how pods came and went, with all times at AWS's own speed.
type Replacement struct {
	// Took is the time from the first start until the last of the replaced pods had left
	// nothing in AWS. Least is how long their mutating calls take, and the last target group is
	// in use.
	Took, Least time.Duration
	// Waits are the times from the start of each new pod's agent to its endpoint, sorted.
	Waits []time.Duration
	// Throttled is the percentage of all calls, Refused that of the deletions.
	Throttled, Refused float64
}

// MeasureRolling replaces all pods of a running fleet. Each new pod takes the place of one
// that stops, and there are that many more than usual at most, as in a Deployment.
func MeasureRolling(ctx context.Context, stage *scenario.Stage, pods, surge int) (Replacement, error) {
	return replaced(ctx, &fleet{pods: pods, speed: replaceSpeed, Stage: stage}, pods, func(ctx context.Context, replace func(context.Context, int) error) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(surge)
		for i := range pods {
			group.Go(func() error { return replace(ctx, i) })
		}
		return group.Wait()
	})
}

// MeasureChurn has pods come and go all the time, one after the other, so often that they need
// the given share of the calls that AWS allows.
func MeasureChurn(ctx context.Context, stage *scenario.Stage, pods, replacements int, share float64) (Replacement, error) {
	f := &fleet{pods: pods, speed: replaceSpeed, Stage: stage}
	every := time.Duration(lifeCalls / (f.mutating().PerSecond * share * f.speed) * float64(time.Second))
	return replaced(ctx, f, replacements, func(ctx context.Context, replace func(context.Context, int) error) error {
		group, ctx := errgroup.WithContext(ctx)
		for i := range replacements {
			group.Go(func() error { return replace(ctx, i) })
			if scenario.Wait(ctx, every); ctx.Err() != nil {
				break
			}
		}
		return group.Wait()
	})
}

// replacing is a fleet of which pods are replaced.
type replacing struct {
	*fleet
	mu    sync.Mutex
	alive []*rig.Pod // oldest first
	waits []time.Duration
}

// replaced starts a fleet, and replaces the oldest pod so many times as play says.
func replaced(ctx context.Context, f *fleet, times int, play func(context.Context, func(context.Context, int) error) error) (r Replacement, err error) {
	f.replaces = true
	if err := f.startBound(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.abandon(context.WithoutCancel(ctx))) }()
	b := f.mutating()
	r.Least = time.Duration((lifeCalls*float64(times)-b.Capacity)/b.PerSecond*float64(time.Second)) + InUseWindow()
	f.Say("replacing %d pods; their calls take %.0f s, which are %.0f s here", times, r.Least.Seconds(), r.Least.Seconds()/f.speed)
	measured, pods := newResult(f), &replacing{fleet: f, alive: slices.Clone(f.all)}
	measured.before = f.Emulator.CallCounts()
	began := time.Now()
	patience, cancel := context.WithTimeout(ctx, time.Duration(3*r.Least.Seconds()/f.speed*float64(time.Second))+2*time.Minute)
	defer cancel()
	err = play(patience, pods.replace)
	f.all = pods.alive // also those that have to be abandoned
	if err != nil {
		return r, err
	}
	if err := scenario.Poll(patience, pollEvery/2, f.replacedAll); err != nil {
		return r, err
	}
	measured.took, measured.after = time.Since(began), f.Emulator.CallCounts()
	r.Took = time.Duration(measured.makespan() * float64(time.Second))
	r.Throttled, r.Refused = measured.throttledPercent(), measured.refusedPercent()
	slices.Sort(pods.waits)
	r.Waits = pods.waits
	return r, f.Check(ctx)
}

// replace starts a pod and, once it is bound, stops the oldest one.
func (r *replacing) replace(ctx context.Context, number int) error {
	p, err := r.NewPod(ctx, fmt.Sprintf("next-%d", number), "game=7777/UDP")
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.alive = append(r.alive, p)
	r.mu.Unlock()
	began := time.Now()
	if err := p.Start(); err != nil {
		return err
	}
	endpoint := filepath.Join(p.Shared(), "endpoint")
	if err := scenario.Poll(ctx, pollEvery/2, func() error {
		file, err := os.Stat(endpoint)
		if err != nil {
			return fmt.Errorf("%s is not bound: %w", p.Name, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waits = append(r.waits, time.Duration(float64(file.ModTime().Sub(began))*r.speed))
		return nil
	}); err != nil {
		return err
	}
	r.mu.Lock()
	oldest := r.alive[0]
	r.alive = r.alive[1:]
	r.mu.Unlock()
	if err := oldest.Terminate(ctx); err != nil {
		return fmt.Errorf("stopping %s: %w", oldest.Name, err)
	}
	return nil
}

// replacedAll returns an error until AWS has the bindings of the running pods alone.
func (f *fleet) replacedAll() error {
	if left, want := f.leftovers(), 2*f.pods; left != want {
		return fmt.Errorf("AWS has %d listeners and target groups, and %d are of running pods", left, want)
	}
	return nil
}
