package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/shared/elb"
)

// deregisterWait is how long flows are given between deregistering and the end of
// the listener; 0 is no deregistering. The pod's grace period comes first.
func (a *Agent) deregisterWait() time.Duration {
	wait := a.Deregister
	if !a.deadline.IsZero() {
		wait = min(wait, a.deadline.Sub(a.Clock.Now())-releaseReserve)
	}
	return max(wait, 0)
}

// deregister takes the pod out of its target groups and waits: AWS then sends no
// new flows, and lets those that there are go on for as long as the target group's
// attributes say. It is a courtesy: what fails here ends with the target group.
func (a *Agent) deregister(ctx context.Context, hurry <-chan struct{}, all []leftover, wait time.Duration) {
	if len(all) == 0 {
		return
	}
	ctx, cancel := a.Clock.Timeout(ctx, wait)
	defer cancel()
	ctx, stop := hurried(ctx, hurry)
	defer stop()
	for i := range all {
		if err := a.deregisterOne(ctx, &all[i]); err != nil {
			a.noteThrottled(err)
			a.complain(ctx, "not deregistered", err, "lease", all[i].tags.Lease, "arn", all[i].targetGroup)
		}
	}
	a.Log.InfoContext(ctx, "deregistered; flows end now", "seconds", wait.Seconds())
	if err := a.pause(ctx, wait); err != nil {
		a.Log.DebugContext(ctx, "waiting for flows ended", "err", err)
	}
}

func (a *Agent) deregisterOne(ctx context.Context, l *leftover) error {
	if l.targetGroup == "" {
		return nil
	}
	if err := a.checkOwn(ctx, l); err != nil {
		return err
	}
	return a.deregisterTarget(ctx, l.targetGroup, l.target)
}

// deregisterTarget removes one target; a target group that is gone has none.
func (a *Agent) deregisterTarget(ctx context.Context, targetGroup string, t elb.Target) error {
	err := a.LoadBalancer.DeregisterTargets(ctx, targetGroup, []elb.Target{t})
	if errors.Is(err, elb.ErrTargetGroupGone) {
		return nil
	}
	return err
}

// hurried is ctx until hurry is closed.
func hurried(ctx context.Context, hurry <-chan struct{}) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-hurry:
			cancel(errHurry)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
