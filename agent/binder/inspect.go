package binder

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// found is what exists in AWS of one binding.
type found struct {
	targetGroup string // ARN
	listener    string // ARN
	// damagedListener was created for this port, and changed by somebody since.
	damagedListener string
	registered      bool
	// otherTargets are not this pod, such as the address it had before its sandbox
	// was replaced.
	otherTargets []elb.Target
}

// inspect compares what is known of the binding with AWS. A port without a known
// target group costs no call, because creating one is idempotent; nor does one whose target
// group is unused.
func (a *attempt) inspect(ctx context.Context) error {
	known := a.holding.Binding(a.port)
	if a.targetGroup, a.created = known.TargetGroup, known.Created; known.TargetGroup == "" || known.Unused {
		return nil
	}
	if err := a.inspectTargets(ctx, known); err != nil {
		return err
	}
	if known.Listener == "" {
		return nil
	}
	return a.inspectListeners(ctx, known)
}

func (a *attempt) inspectTargets(ctx context.Context, known holding.Binding) error {
	var targets []elb.Target
	err := a.patiently(ctx, func() (err error) {
		targets, err = a.LoadBalancer.Targets(ctx, known.TargetGroup)
		return err
	})
	if errors.Is(err, elb.ErrTargetGroupGone) {
		a.targetGroup = ""
	} else if err != nil {
		return err
	}
	for _, t := range targets {
		switch {
		case t.Draining():
		case t.IP == a.Pod.IP && t.Port == a.port.TargetPort:
			a.registered = true
			a.noteTargetState(a.holding, a.port, targets)
		default:
			a.otherTargets = append(a.otherTargets, t)
		}
	}
	return nil
}

func (a *attempt) inspectListeners(ctx context.Context, known holding.Binding) error {
	listeners, err := a.LoadBalancer.Listeners(ctx, a.holding.Claim.LoadBalancer.ARN)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		switch {
		case l.Port == a.port.ListenerPort && l.Protocol == string(a.port.Protocol) && slices.Equal(l.TargetGroupARNs, []string{known.TargetGroup}):
			// AWS deletes no target group that a listener forwards to. If it looks gone,
			// AWS only does not show it yet, and creating both again gives these.
			if a.targetGroup != "" {
				a.listener = l.ARN
			}
		case l.ARN == known.Listener:
			a.damagedListener = l.ARN
		}
	}
	return nil
}

// DescribeTargets describes the targets of ports, one call each, and notes their
// states. It stops at the first error.
func (b *Binder) DescribeTargets(ctx context.Context, h *holding.Holding, ports []api.ClaimedPort) error {
	for _, p := range ports {
		targets, err := b.LoadBalancer.Targets(ctx, h.Binding(p).TargetGroup)
		if err != nil {
			b.countThrottled(err)
			return err
		}
		b.noteTargetState(h, p, targets)
	}
	return nil
}

// noteTargetState notes the state of this pod's target.
func (b *Binder) noteTargetState(h *holding.Holding, p api.ClaimedPort, targets []elb.Target) {
	state, healthy := "not registered", false
	for _, t := range targets {
		if t.IP == b.Pod.IP && t.Port == p.TargetPort {
			state, healthy = t.Health(), t.Healthy()
		}
	}
	h.Update(p.Fence, func(known *holding.Binding) { known.TargetState, known.Healthy = state, healthy })
}
