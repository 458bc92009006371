package lifecycle

import (
	"context"
	"errors"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// elsewhere tells whether the port may be bindable on another load balancer only:
// somebody else listens there, or it has no room, or it is gone. The allocator
// looks for itself.
func elsewhere(err error) bool {
	return errors.Is(err, elb.ErrListenerTaken) || errors.Is(err, elb.ErrQuota) || errors.Is(err, elb.ErrLoadBalancerGone)
}

// conflict reports that no listener can be created on the port. errMoved when
// the claim has another port from now on; taken, the reason it was called for,
// when the allocator does not see that listener.
func (a *Agent) conflict(ctx context.Context, h *holding, p api.ClaimedPort, taken error) error {
	a.Metrics.conflicts.Inc()
	a.Log.WarnContext(ctx, "listener cannot be created on this port", "port", p.ListenerPort, "lease", p.Fence.Lease, "err", taken)
	c, err := a.Allocator.ReportCollision(ctx, a.Pod.Namespace, a.Pod.Name, api.CollisionRequest{ClaimUID: h.claim.UID, Fence: p.Fence})
	if err == nil {
		err = a.check(c)
	}
	if err != nil {
		return err
	}
	if h.adopt(c) {
		a.granted(ctx, c)
		return errMoved
	}
	return taken
}
