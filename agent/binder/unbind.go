package binder

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/shared/elb"
)

// Each try is a mutating call of the account's few a second.
const (
	firstUnbindPause = 2 * time.Second
	mostUnbindPause  = 4 * time.Second
)

// unbinding is how far the deletion of one leftover has come.
type unbinding struct {
	holding.Leftover
	// due is when the next call may be made, and pause is the wait before it if the last
	// one has failed.
	due   time.Time
	pause time.Duration
}

// Unbind deletes the listeners of leftovers, and each target group once AWS no longer
// reports it as in use. It returns those that are gone. It ends when all are gone, when
// the rest needs an admin, or with ctx. The janitor deletes the rest.
func (b *Binder) Unbind(ctx context.Context, leftovers []holding.Leftover) (gone []holding.Leftover) {
	var rest []*unbinding
	for _, l := range leftovers {
		rest = append(rest, &unbinding{Leftover: l})
	}
	for len(rest) > 0 {
		next := slices.MinFunc(rest, func(a, b *unbinding) int { return a.due.Compare(b.due) })
		if err := b.sleepUntil(ctx, next.due); err != nil {
			for _, u := range rest {
				b.Failures.Failed(ctx, "no time left to delete the binding; leaving it to the janitor", err,
					"lease", u.Port.Fence.Lease, "generation", u.Port.Fence.Generation, "arn", u.TargetGroup)
			}
			return gone
		}
		done, err := b.unbindNext(ctx, next)
		b.countThrottled(err)
		switch {
		case done:
			gone = append(gone, next.Leftover)
			b.Log.InfoContext(ctx, "port unbound", "lease", next.Port.Fence.Lease, "generation", next.Port.Fence.Generation, "arn", next.TargetGroup)
		case failure.NeedsAdmin(err):
			b.Failures.Failed(ctx, "failed to delete the binding; leaving it to the janitor", err,
				"lease", next.Port.Fence.Lease, "generation", next.Port.Fence.Generation)
		case err != nil:
			b.retryLater(next, err)
			b.Log.DebugContext(ctx, "binding not deleted yet", "lease", next.Port.Fence.Lease, "err", err)
			continue
		default:
			continue
		}
		rest = slices.DeleteFunc(rest, func(u *unbinding) bool { return u == next })
	}
	return gone
}

// sleepUntil returns the cause of ctx if that ends first.
func (b *Binder) sleepUntil(ctx context.Context, at time.Time) error {
	if wait := at.Sub(b.Clock.Now()); wait > 0 {
		return b.Clock.Sleep(ctx, wait)
	}
	return nil
}

// retryLater puts a leftover last. A target group that is in use stays so for a whole
// window: its listener may have been deleted a moment ago.
func (b *Binder) retryLater(u *unbinding, err error) {
	u.pause = min(max(2*u.pause, firstUnbindPause), mostUnbindPause)
	wait := clock.Above(u.pause, b.Jitter)
	if errors.Is(err, elb.ErrInUse) {
		wait = max(wait, u.Claim.InUseWindow())
	}
	u.due = b.Clock.Now().Add(wait)
}

// unbindNext makes the next deletion of one binding. done is false without an error if
// another one is to follow.
func (b *Binder) unbindNext(ctx context.Context, u *unbinding) (done bool, err error) {
	if err := b.checkOwner(ctx, &u.Leftover); err != nil {
		return false, err
	}
	switch {
	case u.Listener != "" && !u.ListenerDeleted:
		if err := b.LoadBalancer.DeleteListener(ctx, u.Listener); err != nil {
			return false, err
		}
		u.ListenerDeleted = true
		if u.TargetGroup == "" {
			return true, nil
		}
		u.due = b.Clock.Now().Add(u.Claim.InUseWindow())
		return false, nil
	case u.TargetGroup == "":
		return true, nil
	}
	err = b.LoadBalancer.DeleteTargetGroup(ctx, u.TargetGroup)
	if !errors.Is(err, elb.ErrInUse) {
		return err == nil, err
	}
	// The answer to creating a listener may have been lost.
	return false, errors.Join(err, b.deleteUnknownListeners(ctx, u.Leftover))
}

// checkOwner checks once that no part of the binding carries other tags than its
// fence's, because the ARNs may be old. A part that AWS does not show may have been
// created a moment ago, and is deleted all the same: the ARN is this fence's, and only
// a deletion proves that it is gone.
func (b *Binder) checkOwner(ctx context.Context, l *holding.Leftover) error {
	if l.OwnerChecked {
		return nil
	}
	arns := slices.DeleteFunc([]string{l.Listener, l.TargetGroup}, func(arn string) bool { return arn == "" })
	if _, err := b.own(ctx, tagsOf(*l), arns...); err != nil {
		return err
	}
	l.OwnerChecked = true
	return nil
}

// deleteUnknownListeners deletes the listeners of this fence that forward to its
// target group.
func (b *Binder) deleteUnknownListeners(ctx context.Context, l holding.Leftover) error {
	listeners, err := b.LoadBalancer.Listeners(ctx, l.Claim.LoadBalancer.ARN)
	if err != nil {
		return err
	}
	var arns []string
	for _, one := range listeners {
		if slices.Contains(one.TargetGroupARNs, l.TargetGroup) {
			arns = append(arns, one.ARN)
		}
	}
	return b.deleteOwnListeners(ctx, tagsOf(l), arns...)
}

func tagsOf(l holding.Leftover) elb.Tags { return elb.TagsOf(l.Claim, l.Port.Fence) }
