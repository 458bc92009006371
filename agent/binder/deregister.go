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
// the ledger may have lost it, and creating is idempotent. A target group that does
// not exist, or that AWS does not show yet, has no target.
func (b *Binder) deregisterPreviousIP(ctx context.Context, h *holding.Holding, p api.ClaimedPort, previous string) error {
	targetGroup := h.Binding(p).TargetGroup
	if targetGroup == "" {
		var err error
		if targetGroup, err = b.createTargetGroup(ctx, h.Claim, p); err != nil {
			return err
		}
		h.Update(p.Fence, func(known *holding.Binding) { known.TargetGroup = targetGroup })
	}
	own, err := b.own(ctx, elb.TagsOf(h.Claim, p.Fence), targetGroup)
	if err != nil || len(own) == 0 {
		return err
	}
	return b.deregisterTarget(ctx, targetGroup, elb.Target{IP: previous, Port: p.TargetPort})
}

// Deregister removes this pod from the target groups of leftovers, so that AWS sends
// no new flows and lets the others end as the target groups' attributes say. It reports
// whether none of them has it as a target any more. If not, the janitor deregisters it.
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
	return b.deregisterTarget(ctx, l.TargetGroup, elb.Target{IP: b.Pod.IP, Port: l.Port.TargetPort})
}

// deregisterTarget removes one target; a target group that is gone has none.
func (b *Binder) deregisterTarget(ctx context.Context, targetGroup string, t elb.Target) error {
	err := b.LoadBalancer.DeregisterTargets(ctx, targetGroup, []elb.Target{t})
	if errors.Is(err, elb.ErrTargetGroupGone) {
		return nil
	}
	return err
}
