package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// ReportCollision hears that a port cannot be bound: somebody else's listener is there,
// the load balancer has no room for another one, or it is gone. It looks for
// itself: only what it sees moves the claim to another port. Repeated after that,
// because the answer was lost, it gives the claim as it is now: what else the
// claim has must not count as lost.
func (s *Service) ReportCollision(ctx context.Context, h Holder, req api.CollisionRequest) (api.Claim, error) {
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
		r, ports, err := s.advance(ctx, r, nil)
		if err != nil {
			return api.Claim{}, err
		}
		return s.paid(ctx, r, ports, 0)
	}
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	sight, err := s.Pools.Inspect(ctx, port.Value.LoadBalancerARN)
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	if reason, foreign := sight.Obstacle(port.Value.ListenerPort, port.Value.TargetGroupARN); reason != "" {
		if err := s.blocked(ctx, r.Name, req.Fence, foreign); err != nil {
			return api.Claim{}, err
		}
		s.Count("conflict", r.Value.Pool)
		s.Log.WarnContext(ctx, "claim moves to another port", "lease", req.Fence.Lease, "port", port.Value.ListenerPort, "reason", reason)
		exclude := map[string]bool{req.Fence.Lease: true}
		moved, err := s.replan(ctx, r, exclude)
		if errors.Is(err, ledger.ErrConflict) {
			return api.Claim{}, errCrowded
		}
		if err != nil {
			return api.Claim{}, err
		}
		r, ports, err := s.advance(ctx, moved, exclude)
		if err != nil {
			return api.Claim{}, err
		}
		return s.paid(ctx, r, ports, 0)
	}
	ports, err := s.portsOf(ctx, r)
	if err != nil {
		return api.Claim{}, err
	}
	return s.paid(ctx, r, ports, 0)
}

// blocked writes down whose listener is on the port, so that no replica hands it
// out again before the janitor has seen that it is gone.
func (s *Service) blocked(ctx context.Context, claim string, f api.Fence, listener string) error {
	_, err := s.changePort(ctx, f.Lease, func(p *ledger.Port) error {
		if listener != "" && p.Holds(claim, f) {
			p.Foreign = listener
		}
		return nil
	})
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return nil // nobody is granted it from that
	}
	return err
}
