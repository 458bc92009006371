package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

// Releases end claims.
type Releases interface {
	// Release begins the release; lost means that the claim is over already.
	Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error)
	// Finish reports the port leases whose bindings are gone.
	Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error
}

// releasePhase gives the claim back and deletes its bindings.
type releasePhase struct {
	env
	allocator   Releases
	binder      *binder.Binder
	counters    counters
	termination *termination
	pod         pod.Identity
	deregister  time.Duration
	timeout     time.Duration
}

// run notifies the allocator first, because there may be time for nothing else: the
// janitor then does the rest at once. Deregistering comes next, because another pod may
// get this one's address. Unbinding and the report that all is gone follow.
func (p *releasePhase) run(ctx context.Context, hurry <-chan struct{}, h *holding.Holding) {
	ctx, cancel := p.clock.Timeout(ctx, p.timeout+p.deregister)
	defer cancel()
	p.counters.bound.Set(0)
	wait := max(p.termination.within(p.deregister, 0), 0)
	answer, err := p.notify(ctx, h)
	if errors.Is(err, api.ErrLost) {
		p.log.InfoContext(ctx, "claim was already released", "err", err)
		return
	}
	if err != nil {
		p.failures.Failed(ctx, "failed to release the claim; the janitor will reclaim it", err)
		return
	}
	p.log.InfoContext(ctx, "claim released", "lease", h.Leases())
	leftovers, gone := released(h, answer.Ports)
	deregistered := answer.Deregister && p.deregisterTargets(ctx, h, leftovers)
	if !answer.Unbind {
		return
	}
	if deregistered && wait > 0 {
		p.letFlowsEnd(ctx, hurry, wait)
	}
	gone = append(gone, p.unbind(ctx, leftovers)...)
	if len(gone) == 0 {
		return
	}
	if err := p.allocator.Finish(ctx, p.pod.Namespace, p.pod.Name, h.Claim.UID, gone); err != nil {
		p.failures.Failed(ctx, "failed to report that bindings are gone; the janitor will find out", err)
	}
}

// notify tells the allocator that the claim is over.
func (p *releasePhase) notify(ctx context.Context, h *holding.Holding) (api.ReleaseAnswer, error) {
	var wait backoff.Backoff
	for {
		answer, err := p.allocator.Release(ctx, p.pod.Namespace, p.pod.Name, api.ReleaseRequest{ClaimUID: h.Claim.UID})
		if err == nil || errors.Is(err, api.ErrLost) || failure.NeedsAdmin(err) || ctx.Err() != nil {
			return answer, err
		}
		p.failures.Failed(ctx, "failed to release the claim; retrying", err)
		if p.clock.Sleep(ctx, wait.Next(err, p.jitter)) != nil {
			return answer, err
		}
	}
}

// released splits the ports of a release answer, completed by what this process
// knows: those with a binding to delete, and the port leases without one.
func released(h *holding.Holding, ports []api.ClaimedPort) (leftovers []holding.Leftover, gone []string) {
	for _, port := range ports {
		if l, exists := h.Leftover(port); exists {
			leftovers = append(leftovers, l)
		} else {
			gone = append(gone, port.Fence.Lease)
		}
	}
	return leftovers, gone
}

// deregisterTargets takes the pod out of its target groups, and tells the allocator if
// that succeeded. Until somebody has, a new pod with this address has to wait.
func (p *releasePhase) deregisterTargets(ctx context.Context, h *holding.Holding, leftovers []holding.Leftover) (done bool) {
	if !p.binder.Deregister(ctx, leftovers) {
		return false
	}
	p.log.InfoContext(ctx, "targets deregistered", "lease", h.Leases())
	report := api.ReleaseRequest{ClaimUID: h.Claim.UID, Deregistered: true}
	if _, err := p.allocator.Release(ctx, p.pod.Namespace, p.pod.Name, report); err != nil && !errors.Is(err, api.ErrLost) {
		p.failures.Failed(ctx, "failed to report that the targets are deregistered; the janitor will deregister them again", err)
	}
	return true
}

// letFlowsEnd waits between deregistering and unbinding.
func (p *releasePhase) letFlowsEnd(ctx context.Context, hurry <-chan struct{}, wait time.Duration) {
	ctx, stop := hurried(ctx, hurry)
	defer stop()
	p.log.InfoContext(ctx, "waiting for flows to end", "seconds", wait.Seconds())
	if err := p.clock.Sleep(ctx, wait); err != nil {
		p.log.DebugContext(ctx, "waiting for flows ended early", "err", err)
	}
}

// unbind returns the port leases whose binding is gone. It leaves a tenth of the time
// for reporting them.
func (p *releasePhase) unbind(ctx context.Context, leftovers []holding.Leftover) (gone []string) {
	ctx, cancel := p.clock.Timeout(ctx, p.timeout*9/10)
	defer cancel()
	for _, l := range p.binder.Unbind(ctx, leftovers) {
		gone = append(gone, l.Port.Fence.Lease)
	}
	return gone
}
