package binder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// PortUnusable reports whether err means that the port may be bindable on another
// load balancer only: a foreign listener is on it, the load balancer has no room, or
// it is gone. The allocator verifies this for itself.
func PortUnusable(err error) bool {
	return errors.Is(err, elb.ErrListenerTaken) || errors.Is(err, elb.ErrQuota) || errors.Is(err, elb.ErrLoadBalancerGone)
}

// PortError is why a port could not be bound.
type PortError struct {
	Port api.ClaimedPort
	Err  error
}

func (e *PortError) Error() string {
	return fmt.Sprintf("binding port %d: %v", e.Port.ListenerPort, e.Err)
}

func (e *PortError) Unwrap() error { return e.Err }

// Bind creates what is missing of the bindings of ports. A listener is created only
// after the ledger has recorded its target group, which is the license for it. A port
// is reported bound only after all parts were seen to carry its fence's tags.
//
// All ports go through each step together, so that they wait for AWS once. If target groups
// were recorded, Bind returns done as false as soon as they can be used. Call it again once
// the budget has granted the calls for the listeners.
//
// The error is a *PortError. It is about an unusable port only if nothing else has failed:
// another port of the claim may free that one, because somebody may have moved this pod's own
// listener there.
func (b *Binder) Bind(ctx context.Context, h *holding.Holding, ports ...api.ClaimedPort) (done bool, err error) {
	all := make(attempts, len(ports))
	for i, p := range ports {
		all[i] = &attempt{Binder: b, holding: h, port: p, tags: elb.TagsOf(h.Claim, p.Fence)}
	}
	if err := all.take(ctx, all.each((*attempt).inspect), all.each((*attempt).createTargetGroup), all.awaitTargetGroups); err != nil || all.recorded() {
		return false, cmp.Or(err, all.unusable())
	}
	if err := all.take(ctx,
		all.each((*attempt).connect), all.awaitListeners, all.confirmTags,
		all.each((*attempt).deregisterOthers), all.each((*attempt).reportBound),
	); err != nil {
		return false, err
	}
	err = all.unusable()
	return err == nil, err
}

// take takes steps until one fails.
func (all attempts) take(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// recorded reports whether a target group was recorded in the ledger.
func (all attempts) recorded() bool {
	return slices.ContainsFunc(all, func(a *attempt) bool { return a.recorded })
}

// attempts are those of one claim.
type attempts []*attempt

// attempt is one try at binding one port.
type attempt struct {
	*Binder
	holding *holding.Holding
	port    api.ClaimedPort
	tags    elb.Tags
	// created is when this process created the target group, and listening when it
	// created the listener; zero if it did not.
	created, listening time.Time
	// recorded is whether the ledger recorded the target group in this attempt.
	recorded bool
	// unusable is why the port cannot be used; nil if it can.
	unusable error
	found
}

// each makes a step of all attempts. An unusable port takes no further step.
func (all attempts) each(step func(*attempt, context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, a := range all.usable() {
			if err := step(a, ctx); err != nil && !PortUnusable(err) {
				return a.failed(err)
			} else if err != nil {
				a.unusable = a.failed(err)
			}
		}
		return nil
	}
}

func (all attempts) usable() (usable attempts) {
	for _, a := range all {
		if a.unusable == nil {
			usable = append(usable, a)
		}
	}
	return usable
}

// unusable is the error about the first unusable port; nil if there is none.
func (all attempts) unusable() error {
	for _, a := range all {
		if a.unusable != nil {
			return a.unusable
		}
	}
	return nil
}

func (a *attempt) failed(err error) error {
	a.countThrottled(err)
	return &PortError{a.port, err}
}

func (a *attempt) update(change func(*holding.Binding)) { a.holding.Update(a.port.Fence, change) }

// createTargetGroup records the target group before the next one is created, so that a pod
// that dies leaves at most one that the ledger does not know.
func (a *attempt) createTargetGroup(ctx context.Context) error {
	if a.targetGroup == "" {
		arn, err := a.Binder.createTargetGroup(ctx, a.holding.Claim, a.port)
		if err != nil {
			return err
		}
		a.targetGroup, a.created = arn, a.Clock.Now()
		a.update(func(b *holding.Binding) {
			b.AttributesSet = b.AttributesSet && b.TargetGroup == arn
			b.Created, b.Unused = a.created, true
		})
	}
	a.update(func(b *holding.Binding) { b.TargetGroup = a.targetGroup })
	return a.recordTargetGroup(ctx)
}

// createTargetGroup returns the one of this fence if it exists already.
func (b *Binder) createTargetGroup(ctx context.Context, c api.Claim, p api.ClaimedPort) (arn string, err error) {
	return b.LoadBalancer.CreateTargetGroup(ctx, elb.TargetGroupSpec{
		Name: p.TargetGroupName, Protocol: p.Protocol, Port: p.TargetPort, VPC: c.LoadBalancer.VPC,
		HealthCheck: p.HealthCheck, Tags: elb.TagsOf(c, p.Fence),
	})
}

func (a *attempt) recordTargetGroup(ctx context.Context) error {
	if a.targetGroup == a.port.TargetGroupARN {
		return nil
	}
	err := a.Reports.TargetGroup(ctx, a.Pod.Namespace, a.Pod.Name, api.TargetGroupRequest{
		ClaimUID: a.holding.Claim.UID, Fence: a.port.Fence, TargetGroupARN: a.targetGroup,
	})
	if err != nil {
		return err
	}
	a.holding.TargetGroupRecorded(a.port.Fence, a.targetGroup)
	a.recorded = true
	return nil
}

// connect registers the target and creates the listener, both at once: AWS takes
// its time for either, and neither needs the other.
func (a *attempt) connect(ctx context.Context) error {
	a.update(func(b *holding.Binding) { b.Unused = false })
	registered := make(chan error, 1)
	go func() { registered <- a.register(ctx) }()
	err := a.listen(ctx)
	// A damaged listener that could not be deleted stays known. Otherwise its port
	// would look taken by a foreign listener.
	a.update(func(b *holding.Binding) { b.Listener = cmp.Or(a.listener, a.damagedListener) })
	return errors.Join(err, <-registered)
}

// register makes this pod a target.
func (a *attempt) register(ctx context.Context) error {
	if a.registered {
		return nil
	}
	return a.patiently(ctx, func() error {
		return a.LoadBalancer.RegisterTarget(ctx, a.targetGroup, a.Pod.IP, a.port.TargetPort)
	})
}

// listen makes the listener, in place of a damaged one if there is one.
func (a *attempt) listen(ctx context.Context) error {
	if err := a.deleteDamagedListener(ctx); err != nil {
		return err
	}
	if a.listener != "" {
		return nil
	}
	if err := a.setAttributes(ctx); err != nil {
		return err
	}
	return a.patiently(ctx, func() (err error) {
		a.listener, err = a.LoadBalancer.CreateListener(ctx, elb.ListenerSpec{
			LoadBalancerARN: a.holding.Claim.LoadBalancer.ARN, Port: a.port.ListenerPort, Protocol: a.port.Protocol,
			TargetGroupARN: a.targetGroup, Tags: a.tags,
		})
		a.listening = a.Clock.Now()
		return err
	})
}

// deleteDamagedListener leaves one that carries other tags by now: it is foreign, and
// if it is on this port, creating the listener fails and says so.
func (a *attempt) deleteDamagedListener(ctx context.Context) error {
	if a.damagedListener == "" {
		return nil
	}
	if err := a.deleteOwnListeners(ctx, a.tags, a.damagedListener); err != nil && !errors.Is(err, failure.ErrForeign) {
		return err
	}
	a.damagedListener = ""
	return nil
}

// setAttributes sets, once, the attributes of the target group that differ from
// AWS's defaults. It always comes before the listener, so a target group with a
// listener has them.
func (a *attempt) setAttributes(ctx context.Context) error {
	if len(a.port.Attributes) == 0 || a.holding.Binding(a.port).AttributesSet {
		return nil
	}
	err := a.patiently(ctx, func() error { return a.LoadBalancer.SetAttributes(ctx, a.targetGroup, a.port.Attributes) })
	if err != nil {
		return err
	}
	a.update(func(b *holding.Binding) { b.AttributesSet = true })
	return nil
}

func (a *attempt) deregisterOthers(ctx context.Context) error {
	return a.patiently(ctx, func() error { return a.LoadBalancer.DeregisterTargets(ctx, a.targetGroup, a.otherTargets) })
}

// reportBound reports an unchanged listener too: the ledger may have the port as
// damaged.
func (a *attempt) reportBound(ctx context.Context) error {
	err := a.Reports.Bound(ctx, a.Pod.Namespace, a.Pod.Name, api.BoundRequest{
		ClaimUID: a.holding.Claim.UID, Fence: a.port.Fence, ListenerARN: a.listener,
	})
	if err != nil {
		return err
	}
	a.holding.ListenerRecorded(a.port.Fence, a.listener)
	a.update(func(b *holding.Binding) { b.Bound = true })
	return nil
}
