package binder

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// DeregisterPreviousIP removes the pod's previous IP from the target groups of all
// its ports. Until the allocator hears of that, no other pod can be bound with that
// address.
func (b *Binder) DeregisterPreviousIP(ctx context.Context, h *holding.Holding) (err error) {
	defer func() { b.countThrottled(err) }()
	previous := h.Claim.PreviousIP
	for _, p := range h.Claim.Ports {
		if err := b.deregisterPreviousIP(ctx, h, p, previous); err != nil {
			return fmt.Errorf("deregistering the previous IP %s on port %d: %w", previous, p.ListenerPort, err)
		}
	}
	return nil
}

// deregisterPreviousIP creates the target group of a port if none is known, because
// the ledger may have lost it, and creating is idempotent. An agent that was killed may
// have created the target group a moment ago, and AWS may not know it yet. So one that does
// not exist counts as gone only when it has been asked for long enough.
func (b *Binder) deregisterPreviousIP(ctx context.Context, h *holding.Holding, p api.ClaimedPort, previous string) error {
	targetGroup := h.Binding(p).TargetGroup
	if targetGroup == "" {
		var err error
		if targetGroup, err = b.createTargetGroup(ctx, h.Claim, p); err != nil {
			return err
		}
		h.Update(p.Fence, func(known *holding.Binding) { known.TargetGroup = targetGroup })
	}
	begun := b.Clock.Now()
	for pauses := lagPausesOf(h.Claim); ; {
		own, err := b.own(ctx, elb.TagsOf(h.Claim, p.Fence), targetGroup)
		if err == nil && len(own) > 0 {
			err = b.LoadBalancer.DeregisterTargets(ctx, targetGroup, []elb.Target{{IP: previous, Port: p.TargetPort}})
			if err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, elb.ErrTargetGroupGone) {
			return err
		}
		if b.Clock.Now().Sub(begun) >= goneForSure {
			return nil
		}
		if err := pauses.sleep(ctx, b); err != nil {
			return err
		}
	}
}

// Deregister removes this pod from the target groups of leftovers, so that AWS sends
// no new flows and lets the others end as the target groups' attributes say. It reports
// whether none of them has it as a target any more. If not, the janitor deregisters it. A
// target group that AWS does not know may be new, and counts as one that has the target.
func (b *Binder) Deregister(ctx context.Context, leftovers []holding.Leftover) (done bool) {
	done = true
	for i := range leftovers {
		l := &leftovers[i]
		if err := b.deregisterLeftover(ctx, l); err != nil {
			done = false
			b.countThrottled(err)
			b.Failures.Failed(ctx, "failed to deregister the target; leaving it to the janitor", err,
				"lease", l.Port.Fence.Lease, "arn", l.TargetGroup)
		}
	}
	return done
}

func (b *Binder) deregisterLeftover(ctx context.Context, l *holding.Leftover) error {
	if l.TargetGroup == "" {
		return nil
	}
	if err := b.checkOwner(ctx, l); err != nil {
		return err
	}
	return b.LoadBalancer.DeregisterTargets(ctx, l.TargetGroup, []elb.Target{{IP: b.Pod.IP, Port: l.Port.TargetPort}})
}
