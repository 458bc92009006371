package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// ReportCollision handles a port that cannot be bound: a foreign listener is on it,
// the load balancer has no room for another listener, or it is gone. The allocator
// inspects the load balancer itself, and moves the claim only because of what it
// finds. If the answer was lost and the report is repeated, it returns the claim as
// it is now.
func (s *Service) ReportCollision(ctx context.Context, h Holder, req api.CollisionRequest) (api.Claim, error) {
	r, err := s.claimOf(ctx, h, req.ClaimUID, req.Fence)
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
		return s.completeAndAnswer(ctx, r, nil) // it has moved already
	}
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	found, err := s.Pools.Inspect(ctx, port.Value.LoadBalancerARN)
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	reason, foreign := found.Obstacle(port.Value.ListenerPort, port.Value.TargetGroupARN)
	if reason == "" {
		ports, err := s.portsOf(ctx, r)
		if err != nil {
			return api.Claim{}, err
		}
		return s.answer(ctx, r, ports, s.reservation(0))
	}
	if err := s.recordForeign(ctx, r.Name, req.Fence, foreign); err != nil {
		return api.Claim{}, err
	}
	s.Count("collision", r.Value.Pool)
	s.Log.WarnContext(ctx, "claim moves to another port", "lease", req.Fence.Lease, "port", port.Value.ListenerPort, "reason", reason)
	return s.completeAndAnswer(ctx, r, leaseSet{}.with(req.Fence.Lease))
}

func (s *Service) completeAndAnswer(ctx context.Context, r ledger.Record[ledger.Claim], excluded leaseSet) (api.Claim, error) {
	b := s.reservation(0)
	r, ports, err := s.complete(ctx, r, confirmation{}, excluded, b)
	if err != nil {
		return api.Claim{}, err
	}
	return s.answer(ctx, r, ports, b)
}

// recordForeign records a foreign listener, so that no replica grants the port again
// before the janitor has seen that the listener is gone. A lease that is absent or
// unreadable needs no record: nobody is granted it.
func (s *Service) recordForeign(ctx context.Context, claim string, f api.Fence, listener string) error {
	_, err := s.changePort(ctx, f.Lease, func(p *ledger.Port) error {
		if listener != "" && p.Holds(claim, f) {
			p.Foreign = listener
		}
		return nil
	})
	return ignoreMissing(err)
}
