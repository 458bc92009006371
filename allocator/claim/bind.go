package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// TargetGroup records the target group of a port. From then on its holder may
// create the listener, and the port is not free before that target group is
// gone. Repeating it changes nothing.
func (s *Service) TargetGroup(ctx context.Context, h Holder, req api.TargetGroupRequest) error {
	name := s.TargetGroupName(s.Ledger, req.Fence)
	return s.report(ctx, h, req.ClaimUID, req.Fence, func(p *ledger.Port) error {
		if !targetGroupOf(*p, name, req.TargetGroupARN) {
			return api.Errorf(api.Invalid, "target group %q is not one with the name %s of its fence beside load balancer %s", req.TargetGroupARN, name, p.LoadBalancerARN)
		}
		if p.TargetGroupARN != req.TargetGroupARN {
			p.TargetGroupARN, p.ListenerARN, p.State, p.Restored = req.TargetGroupARN, "", ledger.Claimed, false
		}
		return nil
	})
}

// Bound records the listener of a port. Repeating it changes nothing.
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

// report changes a held port. Anything but a live claim of this pod with this
// very UID that lists this very fence is lost.
func (s *Service) report(ctx context.Context, h Holder, claimUID string, f api.Fence, change func(*ledger.Port) error) error {
	if _, err := s.live(ctx, h, claimUID, f); err != nil {
		return err
	}
	var state ledger.PortState
	wrote, err := s.changePort(ctx, f.Lease, func(p *ledger.Port) error {
		if !p.HeldBy(ledger.ClaimName(h.UID), f) {
			return lost(f)
		}
		err := change(p)
		state = p.State
		return err
	})
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return api.Errorf(api.Unsettled, "port lease %s is missing; claim again to have it restored", f.Lease).WithRetryAfter(retrySoon)
	case errors.Is(err, ledger.ErrUnreadable):
		return unavailable(err)
	case wrote:
		s.Log.InfoContext(ctx, "binding recorded", "holder", h.Namespace+"/"+h.Pod, "lease", f.Lease, "generation", f.Generation, "state", state)
	}
	return err
}

// live finds the claim that a call speaks of and that still lists its fence, or
// says that it is lost.
func (s *Service) live(ctx context.Context, h Holder, claimUID string, f api.Fence) (ledger.Record[ledger.Claim], error) {
	r, err := s.going(ctx, h, claimUID, f)
	if err == nil && !r.Value.Lists(f) {
		return r, lost(f)
	}
	return r, err
}

// going finds the claim that a call speaks of, whatever ports it has by now, or
// says that it is lost.
func (s *Service) going(ctx context.Context, h Holder, claimUID string, f api.Fence) (ledger.Record[ledger.Claim], error) {
	r, err := s.Claims.Get(ctx, ledger.ClaimName(h.UID))
	if errors.Is(err, ledger.ErrAbsent) {
		return r, api.Errorf(api.Unsettled, "the claim lease is missing; renew or claim again to have it restored").WithRetryAfter(retrySoon)
	}
	if err != nil {
		return r, unavailable(err)
	}
	if r.UID != claimUID || r.Value.State == ledger.Ending {
		return r, lost(f)
	}
	return r, nil
}

func lost(f api.Fence) error {
	return api.Errorf(api.Lost, "generation %d of port lease %s is over: stop announcing, unbind what carries this fence, and claim again", f.Generation, f.Lease)
}

// Conflict hears that somebody else's listener is on a port. It looks for
// itself: only a listener that is really there, and not the holder's own, moves
// the claim to another port. Repeated after that, because the answer was lost, it
// gives the claim as it is now: what else the claim has must not count as lost.
func (s *Service) Conflict(ctx context.Context, h Holder, req api.ConflictRequest) (api.Claim, error) {
	r, err := s.going(ctx, h, req.ClaimUID, req.Fence)
	if err != nil {
		return api.Claim{}, err
	}
	port, err := s.Ports.Get(ctx, req.Fence.Lease)
	if err != nil && !errors.Is(err, ledger.ErrAbsent) {
		return api.Claim{}, unavailable(err)
	}
	if !r.Value.Lists(req.Fence) {
		if port.Value.Holder != "" && port.Value.Holder != r.Name {
			return api.Claim{}, lost(req.Fence)
		}
		if r, err = s.advance(ctx, r, nil); err != nil {
			return api.Claim{}, err
		}
		return s.wire(ctx, r)
	}
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	targetGroups, exists, err := s.Pools.TargetGroupsAt(ctx, port.Value.LoadBalancerARN, port.Value.ListenerPort)
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	own := len(targetGroups) == 1 && targetGroups[0] == port.Value.TargetGroupARN
	if exists && !own {
		s.Log.WarnContext(ctx, "listener port blocked by somebody else's listener", "lease", req.Fence.Lease, "port", port.Value.ListenerPort)
		exclude := map[string]bool{req.Fence.Lease: true}
		moved, err := s.replan(ctx, r, exclude)
		if errors.Is(err, ledger.ErrConflict) {
			return api.Claim{}, errCrowded
		}
		if err != nil {
			return api.Claim{}, err
		}
		if r, err = s.advance(ctx, moved, exclude); err != nil {
			return api.Claim{}, err
		}
	}
	return s.wire(ctx, r)
}
