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

// Unbind deletes the listeners and then the target groups of leftovers, and returns
// those that are gone. It ends when all are gone, when the rest needs an admin, or
// with ctx. The janitor deletes the rest.
func (b *Binder) Unbind(ctx context.Context, leftovers []holding.Leftover) (gone []holding.Leftover) {
	rest := slices.Clone(leftovers)
	for pause := firstUnbindPause; ; pause = min(2*pause, mostUnbindPause) {
		var waiting []holding.Leftover
		for _, l := range rest {
			done, err := b.unbindOne(ctx, &l)
			b.countThrottled(err)
			switch {
			case done:
				gone = append(gone, l)
				b.Log.InfoContext(ctx, "port unbound", "lease", l.Port.Fence.Lease, "generation", l.Port.Fence.Generation, "arn", l.TargetGroup)
			case failure.NeedsAdmin(err):
				b.Failures.Failed(ctx, "failed to delete the binding; leaving it to the janitor", err,
					"lease", l.Port.Fence.Lease, "generation", l.Port.Fence.Generation)
			default:
				waiting = append(waiting, l)
				b.Log.DebugContext(ctx, "binding not deleted yet", "lease", l.Port.Fence.Lease, "err", err)
			}
		}
		if rest = waiting; len(rest) == 0 {
			return gone
		}
		if err := b.Clock.Sleep(ctx, clock.Above(pause, b.Jitter)); err != nil {
			for _, l := range rest {
				b.Failures.Failed(ctx, "no time left to delete the binding; leaving it to the janitor", err,
					"lease", l.Port.Fence.Lease, "generation", l.Port.Fence.Generation, "arn", l.TargetGroup)
			}
			return gone
		}
	}
}

// unbindOne deletes as much of one binding as AWS allows now.
func (b *Binder) unbindOne(ctx context.Context, l *holding.Leftover) (done bool, err error) {
	if err := b.checkOwner(ctx, l); err != nil {
		return false, err
	}
	if l.Listener != "" && !l.ListenerDeleted {
		if err := b.LoadBalancer.DeleteListener(ctx, l.Listener); err != nil {
			return false, err
		}
		l.ListenerDeleted = true
	}
	if l.TargetGroup == "" {
		return true, nil
	}
	err = b.LoadBalancer.DeleteTargetGroup(ctx, l.TargetGroup)
	if !errors.Is(err, elb.ErrInUse) {
		return err == nil, err
	}
	// The answer to creating a listener may have been lost.
	return false, errors.Join(err, b.deleteUnknownListeners(ctx, *l))
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
