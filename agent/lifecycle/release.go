package lifecycle

import (
	"context"
	"errors"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Releases give back.
type Releases interface {
	// Release begins; lost means that the claim is over already.
	Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error)
	// Finish says which port leases' bindings are gone.
	Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error
}

// release says first that the claim is over, because that may be all there is
// time for: the janitor then does the rest at once. Deregistering, if that is
// asked for, and deleting come after, and saying so last.
func (a *Agent) release(ctx context.Context, hurry <-chan struct{}, h *holding) {
	ctx, cancel := a.Clock.Timeout(ctx, a.ReleaseTimeout+a.Deregister)
	defer cancel()
	a.status.setBound(false)
	a.Metrics.bound.Set(0)
	wait := a.deregisterWait()
	answer, err := a.beginRelease(ctx, h, wait > 0)
	if errors.Is(err, api.ErrLost) {
		a.Log.InfoContext(ctx, "claim was released before", "err", err)
		return
	}
	if err != nil {
		a.complain(ctx, "claim not released; the janitor will", err)
		return
	}
	a.Log.InfoContext(ctx, "claim released", "lease", leases(h.claim))
	if !answer.Unbind {
		return
	}
	gone := a.released(h, answer.Ports)
	if wait > 0 {
		a.deregister(ctx, hurry, h.leftovers, wait)
	}
	gone = append(gone, a.unbindReleased(ctx, h)...)
	if len(gone) == 0 {
		return
	}
	if err := a.Allocator.Finish(ctx, a.Pod.Namespace, a.Pod.Name, h.claim.UID, gone); err != nil {
		a.complain(ctx, "end of unbinding not reported; the janitor will see it", err)
	}
}

func (a *Agent) beginRelease(ctx context.Context, h *holding, deregister bool) (api.ReleaseAnswer, error) {
	var pace pace
	for {
		answer, err := a.Allocator.Release(ctx, a.Pod.Namespace, a.Pod.Name, api.ReleaseRequest{ClaimUID: h.claim.UID, Deregister: deregister})
		if err == nil || errors.Is(err, api.ErrLost) || needsPerson(err) || ctx.Err() != nil {
			return answer, err
		}
		a.complain(ctx, "claim not released yet", err)
		if a.pause(ctx, pace.next(err, a.Jitter)) != nil {
			return answer, err
		}
	}
}

// released makes leftovers of the ports of a release answer, completed by what this
// process knows, and gives the port leases that have no binding.
func (a *Agent) released(h *holding, ports []api.ClaimedPort) (gone []string) {
	h.leftovers = nil
	for _, p := range ports {
		b := h.known(p)
		if b.targetGroup == "" && b.listener == "" {
			gone = append(gone, p.Fence.Lease)
			continue
		}
		h.leftovers = append(h.leftovers, leftover{
			binding: b, tags: elb.TagsOf(h.claim, p.Fence), loadBalancer: h.claim.LoadBalancer.ARN,
			target: elb.Target{IP: a.Pod.IP, Port: p.TargetPort},
		})
	}
	return gone
}

// unbindReleased gives the port leases whose binding is gone. It leaves a tenth of
// the time for saying so.
func (a *Agent) unbindReleased(ctx context.Context, h *holding) (gone []string) {
	ctx, cancel := a.Clock.Timeout(ctx, a.ReleaseTimeout*9/10)
	defer cancel()
	for _, l := range a.unbind(ctx, h.leftovers) {
		gone = append(gone, l.tags.Lease)
	}
	return gone
}
