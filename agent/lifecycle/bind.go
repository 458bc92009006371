package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const (
	// leftoverTimeout bounds the deletion of what a living pod no longer needs. AWS may
	// report a target group in use for 20 s after its listener was deleted
	// (https://github.com/kubernetes-sigs/aws-load-balancer-controller).
	leftoverTimeout = 30 * time.Second
	// longQueue is the wait in the queue that deserves an event.
	longQueue = 10 * time.Second
)

// bindPhase binds every port of the claim.
type bindPhase struct {
	env
	binder   *binder.Binder
	claims   *claims
	reach    *reachability
	status   *status
	counters counters
	// gone is the ARN of the last load balancer that was told to be gone.
	gone string
}

// run returns when every port is bound, when the claim is lost, when it moved away
// from what is announced, or when ctx is over.
func (p *bindPhase) run(ctx context.Context, h *holding.Holding) error {
	failures := p.reporter.NewFailures()
	var wait backoff.Backoff
	var longest time.Duration
	for {
		if h.Announced && h.Moved {
			return errMoved
		}
		p.unbindLeftovers(ctx, h)
		bound, err := p.next(ctx, h, &longest)
		switch {
		case bound:
			p.reach.bound(ctx, h)
			p.counters.bound.Set(float64(len(h.Claim.Ports)))
			return nil
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, api.ErrLost):
			return err
		}
		p.claims.failed = failure.Kind(err)
		p.reach.failed(failures.Report(ctx, "failed to bind; retrying", err))
		if err := p.clock.Sleep(ctx, wait.Next(err, p.jitter)); err != nil {
			return err
		}
		if err := p.claims.refresh(ctx, h); err != nil {
			return err
		}
	}
}

// next does what the claim needs next: deregister the pod's previous IP, wait in the
// queue, or bind. It reports whether the ports are bound; the claim may have
// changed otherwise. longest is the longest wait in the queue so far.
func (p *bindPhase) next(ctx context.Context, h *holding.Holding, longest *time.Duration) (bound bool, err error) {
	wait := backoff.RetryAfter(h.Claim.BindAfterSeconds)
	switch {
	case h.Claim.PreviousIP != "":
		return false, p.deregisterPreviousIP(ctx, h)
	case wait > 0:
		return false, p.queue(ctx, h, wait, longest)
	}
	return p.bindPorts(ctx, h)
}

// deregisterPreviousIP tells the allocator afterwards. Only then can another pod with
// that address be bound, and this one with its own.
func (p *bindPhase) deregisterPreviousIP(ctx context.Context, h *holding.Holding) error {
	previous := h.Claim.PreviousIP
	if err := p.binder.DeregisterPreviousIP(ctx, h); err != nil {
		return err
	}
	p.claims.previousIPDeregistered = h.Claim.AddressChanges
	p.log.InfoContext(ctx, "previous IP deregistered", "podIP", previous, "lease", h.Leases())
	return p.claims.acquire(ctx, h)
}

// queue waits as long as the allocator asks and refreshes the claim. All pods of the
// account share a few AWS calls a second, so a pod of a large fleet may do this many
// times.
func (p *bindPhase) queue(ctx context.Context, h *holding.Holding, wait time.Duration, longest *time.Duration) error {
	if *longest == 0 {
		p.log.InfoContext(ctx, "waiting in the queue for AWS calls", "seconds", wait.Seconds())
	}
	const why = "AWS allows the account a few calls a second, and older waiting claims come first"
	if !h.Announced { // a repair says more
		p.reach.obstructed(reporter.ReasonWaitingForBudget, why)
	}
	if wait > longQueue && *longest <= longQueue {
		p.reporter.Event(ctx, pod.Normal, reporter.ReasonWaitingForBudget, fmt.Sprintf("%s; they take the next %v", why, wait.Round(time.Second)))
	}
	*longest = max(*longest, wait)
	if err := p.clock.Sleep(ctx, wait); err != nil {
		return err
	}
	return p.claims.refresh(ctx, h)
}

// bindPorts binds the unbound ports, or creates target groups and asks for the calls that
// come next.
func (p *bindPhase) bindPorts(ctx context.Context, h *holding.Holding) (bound bool, err error) {
	p.status.progress(0)
	ports := h.Unbound()
	done, err := p.binder.Bind(ctx, h, ports...)
	for _, port := range ports {
		if b := h.Binding(port); b.Bound {
			p.counters.binds.Inc()
			p.log.InfoContext(ctx, "port bound", "port", port.ListenerPort, "targetPort", port.TargetPort,
				"lease", port.Fence.Lease, "generation", port.Fence.Generation, "arn", b.Listener)
		}
	}
	failed, _ := errors.AsType[*binder.PortError](err)
	switch {
	case err == nil && !done:
		return false, p.claims.refresh(ctx, h)
	case failed == nil, !binder.PortUnusable(err):
		return done, err
	}
	return false, p.reportUnusable(ctx, h, failed)
}

// reportUnusable has the allocator find another port if this one cannot be used.
func (p *bindPhase) reportUnusable(ctx context.Context, h *holding.Holding, failed *binder.PortError) error {
	unusable, reason := failed.Port, failed.Err
	p.log.WarnContext(ctx, "cannot create a listener on this port; reporting a collision",
		"port", unusable.ListenerPort, "lease", unusable.Fence.Lease, "err", reason)
	if gone := h.Claim.LoadBalancer.ARN; errors.Is(reason, elb.ErrLoadBalancerGone) && p.gone != gone {
		p.gone = gone
		p.reporter.Event(ctx, pod.Warning, reporter.ReasonLoadBalancerGone,
			"the load balancer at "+h.Claim.LoadBalancer.Host+" does not exist any more; asking for ports on another one, which changes the endpoint")
	}
	moved, err := p.claims.reportCollision(ctx, h, unusable)
	if moved {
		return nil
	}
	return &binder.PortError{Port: unusable, Err: cmp.Or(err, reason)}
}

// unbindLeftovers deletes the bindings that the claim no longer lists. The janitor
// deletes those that resist.
func (p *bindPhase) unbindLeftovers(ctx context.Context, h *holding.Holding) {
	leftovers := h.TakeLeftovers()
	if len(leftovers) == 0 {
		return
	}
	ctx, cancel := p.clock.Timeout(ctx, leftoverTimeout)
	defer cancel()
	p.binder.Unbind(ctx, leftovers)
}
