package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// TargetGroup records the target group of a port. That is the license to create the
// listener, and the port is not free before the target group is gone. It is
// idempotent.
func (s *Service) TargetGroup(ctx context.Context, h Holder, req api.TargetGroupRequest) error {
	name := s.TargetGroupName(s.Ledger, req.Fence)
	return s.report(ctx, h, req.ClaimUID, req.Fence, func(p *ledger.Port) error {
		if !targetGroupOf(*p, name, req.TargetGroupARN) {
			return api.Errorf(api.Invalid, "target group %q does not have the name %s of its fence, or is not in the account and region of load balancer %s", req.TargetGroupARN, name, p.LoadBalancerARN)
		}
		if p.TargetGroupARN != req.TargetGroupARN {
			p.TargetGroupARN, p.State, p.Restored = req.TargetGroupARN, ledger.Claimed, false
		}
		return nil
	})
}

// Bound records the listener of a port. It is idempotent.
func (s *Service) Bound(ctx context.Context, h Holder, req api.BoundRequest) error {
	return s.report(ctx, h, req.ClaimUID, req.Fence, func(p *ledger.Port) error {
		if p.TargetGroupARN == "" {
			return api.Errorf(api.Invalid, "no target group is recorded for port %d: report it first", p.ListenerPort)
		}
		if !listenerOf(*p, req.ListenerARN) {
			return api.Errorf(api.Invalid, "listener %q is not one of load balancer %s", req.ListenerARN, p.LoadBalancerARN)
		}
		p.ListenerARN, p.State = req.ListenerARN, ledger.Bound
		return nil
	})
}

// report changes a held port. It answers lost unless a live claim of this pod with
// this UID lists this fence.
func (s *Service) report(ctx context.Context, h Holder, claimUID string, f api.Fence, change func(*ledger.Port) error) error {
	r, err := s.claimOf(ctx, h, claimUID, f)
	if err != nil {
		return err
	}
	if !r.Value.Lists(f) {
		return lost(f)
	}
	var state ledger.PortState
	wrote, err := s.changePort(ctx, f.Lease, func(p *ledger.Port) error {
		if !p.HeldBy(r.Name, f) {
			return lost(f)
		}
		err := change(p)
		state = p.State
		return err
	})
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return api.Errorf(api.Pending, "port lease %s is missing; claim again to restore it", f.Lease).WithRetryAfter(retrySoon)
	case errors.Is(err, ledger.ErrUnreadable):
		return unavailable(err)
	case wrote:
		s.Log.InfoContext(ctx, "binding recorded", "holder", h.Namespace+"/"+h.Pod, "lease", f.Lease, "generation", f.Generation, "state", state)
	}
	return err
}

// claimOf reads the claim that a call names. It answers lost if that claim is over.
func (s *Service) claimOf(ctx context.Context, h Holder, claimUID string, f api.Fence) (ledger.Record[ledger.Claim], error) {
	r, err := s.Claims.Get(ctx, ledger.ClaimName(h.UID))
	if errors.Is(err, ledger.ErrAbsent) {
		return r, api.Errorf(api.Pending, "the claim lease is missing; renew or claim again to restore it").WithRetryAfter(retrySoon)
	}
	if err != nil {
		return r, unavailable(err)
	}
	if r.UID != claimUID || r.Value.State == ledger.ClaimReleasing {
		return r, lost(f)
	}
	return r, nil
}

func lost(f api.Fence) error {
	return api.Errorf(api.Lost, "generation %d of port lease %s is over: stop announcing, unbind what carries this fence, and claim again", f.Generation, f.Lease)
}
