package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// stop stops all pods at once, as when a node pool is drained, and waits until
// everything is released.
func (f *fleet) stop(ctx context.Context) (result, error) {
	r := newResult(f)
	if err := f.waitFull(ctx); err != nil {
		return r, err
	}
	f.Say("stopping %d pods together; the tokens alone take %.1f s of their %v, which are %.1f s here", f.pods, f.bound(), f.grace, f.bound()/f.speed)
	r.before = f.Emulator.CallCounts()
	began := time.Now()
	patience, cancel := context.WithTimeout(ctx, time.Duration(((3*f.bound()+4*delays().InUse.Seconds())/f.speed+60)*float64(time.Second)))
	defer cancel()
	var stopping sync.WaitGroup
	errs := make([]error, len(f.all))
	for i, p := range f.all {
		stopping.Go(func() {
			killed, err := f.stopPod(patience, p)
			if errs[i] = err; killed {
				r.killed.Add(1)
			}
		})
	}
	last, err := f.waitReleased(patience)
	stopping.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		f.dump()
		return r, err
	}
	r.after, r.took = f.Emulator.CallCounts(), last.Sub(began)
	if f.logs != "" {
		f.dump()
	}
	return r, f.Check(ctx)
}

// stopPod stops one pod as a kubelet does: SIGTERM, SIGKILL after the grace period, and
// removal of the object.
func (f *fleet) stopPod(ctx context.Context, p *rig.Pod) (killed bool, err error) {
	grace := time.Duration(float64(f.grace) / f.speed)
	if err := p.Terminating(ctx, grace); err != nil {
		return false, err
	}
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	_, err = p.Ended(graceful)
	return err != nil, p.Crash(ctx)
}

// waitReleased returns the time at which nothing was left in AWS and every port was
// free or cooling down.
func (f *fleet) waitReleased(ctx context.Context) (last time.Time, err error) {
	err = scenario.Poll(ctx, pollEvery/2, func() error {
		last = time.Now()
		return f.released(ctx)
	})
	if err != nil {
		err = fmt.Errorf("not everything is released: %w", err)
	}
	return last, err
}

// released returns an error while a port is held or anything is left in AWS.
func (f *fleet) released(ctx context.Context) error {
	_, ports, err := f.Leases(ctx)
	if err != nil {
		return err
	}
	held := 0
	for _, p := range ports {
		if p.Value.Held() {
			held++
		}
	}
	if held > 0 {
		return fmt.Errorf("%d ports are held", held)
	}
	return f.CheckAtRest(ctx)
}
