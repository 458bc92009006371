package claim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Renew prolongs a claim. A claim whose lease was deleted is taken up again from
// what the agent presents, if nobody else holds its ports.
func (s *Service) Renew(ctx context.Context, h Holder, req api.RenewRequest) (api.RenewAnswer, error) {
	if err := req.Validate(); err != nil {
		return api.RenewAnswer{}, api.Errorf(api.Invalid, "%v", err)
	}
	r, fresh, err := s.lookup(ctx, h)
	for range rounds {
		switch {
		case errors.Is(err, ledger.ErrAbsent):
			if r, err = s.adopt(ctx, h, req); err != nil {
				return api.RenewAnswer{}, err
			}
			return s.renewed(ctx, r)
		case err != nil:
			return api.RenewAnswer{}, unavailable(err)
		case r.Value.State != ledger.Ending && (r.UID == req.ClaimUID || presentsAll(r.Value, req)):
			r.Value.RenewedAt = s.Now()
			updated, err := s.Claims.Update(ctx, r)
			if err == nil {
				return s.renewed(ctx, updated)
			}
			if !errors.Is(err, ledger.ErrConflict) {
				return api.RenewAnswer{}, unavailable(err)
			}
		case fresh:
			return api.RenewAnswer{}, api.Errorf(api.Lost, "the claim is over: stop announcing, unbind, and claim again")
		}
		// A view may be late; nothing is lost before a consistent read says so.
		r, err = s.Claims.Get(ctx, ledger.ClaimName(h.UID))
		fresh = true
	}
	return api.RenewAnswer{}, errCrowded
}

// presentsAll tells whether an agent speaks of this very claim although it names
// another lease: it was adopted, and the answer that said so was lost. Fences of
// an earlier claim are never listed again.
func presentsAll(c ledger.Claim, req api.RenewRequest) bool {
	for _, p := range req.Ports {
		if !c.Lists(p.Fence) {
			return false
		}
	}
	return len(c.Ports) > 0 && len(req.Ports) == len(c.Ports)
}

// lookup prefers the view, because the update that follows decides anyway. fresh
// tells whether it was a consistent read instead.
func (s *Service) lookup(ctx context.Context, h Holder) (r ledger.Record[ledger.Claim], fresh bool, err error) {
	name := ledger.ClaimName(h.UID)
	view := s.Claims.View()
	if i := slices.IndexFunc(view, func(r ledger.Record[ledger.Claim]) bool { return r.Name == name }); i >= 0 {
		return view[i], false, nil
	}
	r, err = s.Claims.Get(ctx, name)
	return r, true, err
}

// renewed completes a claim that was renewed: one that is half moved goes on,
// and deleted port leases are restored.
func (s *Service) renewed(ctx context.Context, r ledger.Record[ledger.Claim]) (api.RenewAnswer, error) {
	before := r.Value.Ports
	r, err := s.advance(ctx, r, nil)
	if err != nil {
		return api.RenewAnswer{}, err
	}
	c, err := s.wire(ctx, r)
	if err != nil {
		return api.RenewAnswer{}, err
	}
	answer := api.RenewAnswer{Claim: c}
	for i, p := range c.Ports {
		if p.ListenerARN == "" || i < len(before) && before[i].Fence != p.Fence {
			answer.Rebind = append(answer.Rebind, p.Fence.Lease)
		}
	}
	return answer, nil
}

// adopt makes the claim of a live pod anew from what its agent presents. Each
// port is believed only with a listener in AWS whose tags name this pod and this
// fence, and only if nobody else holds the port.
func (s *Service) adopt(ctx context.Context, h Holder, req api.RenewRequest) (ledger.Record[ledger.Claim], error) {
	none := ledger.Record[ledger.Claim]{}
	if err := s.checkPod(ctx, h, req.PodIP); errors.Is(err, api.ErrForbidden) {
		return none, api.Errorf(api.Lost, "the pod is gone, and so is its claim")
	} else if err != nil {
		return none, err
	}
	c := ledger.Claim{
		Namespace: h.Namespace, Pod: h.Pod, PodUID: h.UID, PodIP: req.PodIP, Pool: req.Pool,
		State: ledger.Granted, Duration: s.Duration, RenewedAt: s.Now(),
	}
	over := api.Errorf(api.Lost, "no claim lease is left and what is presented cannot be adopted: stop announcing, unbind, and claim again")
	if len(req.Ports) == 0 {
		return none, over
	}
	for _, p := range req.Ports {
		lb, err := s.loadBalancerOf(req.Pool, p)
		if err != nil {
			return none, api.Errorf(api.Unavailable, "%v", err).WithRetryAfter(retryExhausted)
		}
		c.LoadBalancer = lb
		proof, err := s.Pools.Proof(ctx, p.ListenerARN)
		if err != nil {
			return none, unavailable(err)
		}
		if proof.PodUID != h.UID || proof.Fence != p.Fence {
			return none, over
		}
		if err := s.freeFor(ctx, h, p.Fence); err != nil {
			return none, err
		}
		if p.HealthCheck.Port != 0 {
			c.HealthPort = p.HealthCheck.Port
		}
		c.Wanted = append(c.Wanted, p.Port)
		c.Ports = append(c.Ports, ledger.PlannedPort{ListenerPort: p.ListenerPort, Fence: p.Fence, HealthCheck: p.HealthCheck})
	}
	if err := api.ValidatePorts(c.Wanted); err != nil {
		return none, api.Errorf(api.Invalid, "%v", err)
	}
	r, err := s.Claims.Create(ctx, ledger.ClaimName(h.UID), c)
	if errors.Is(err, ledger.ErrConflict) {
		return none, errCrowded
	}
	if err != nil {
		return none, unavailable(err)
	}
	for i, p := range c.Ports {
		value := s.held(r, p)
		value.TargetGroupARN, value.ListenerARN, value.State = req.Ports[i].TargetGroupARN, req.Ports[i].ListenerARN, ledger.Bound
		if _, err := s.Ports.Create(ctx, p.Fence.Lease, value); err != nil && !errors.Is(err, ledger.ErrConflict) {
			return none, unavailable(err)
		}
	}
	s.Log.WarnContext(ctx, "claim adopted because its leases were lost", "holder", h.Namespace+"/"+h.Pod, "ports", len(c.Ports))
	return r, nil
}

// freeFor refuses a fence whose port somebody else holds or that is being
// released.
func (s *Service) freeFor(ctx context.Context, h Holder, f api.Fence) error {
	port, err := s.Ports.Get(ctx, f.Lease)
	if errors.Is(err, ledger.ErrAbsent) {
		return nil
	}
	if err != nil {
		return unavailable(err)
	}
	if !port.Value.HeldBy(ledger.ClaimName(h.UID), f) {
		return lost(f)
	}
	return nil
}

// loadBalancerOf finds the load balancer of a presented port in its pool.
func (s *Service) loadBalancerOf(pool string, p api.ClaimedPort) (api.LoadBalancer, error) {
	known, _ := s.Pools.Pool(pool)
	for _, lb := range known.LoadBalancers {
		if ledger.PortName(ledger.LoadBalancerID(lb.ARN), p.ListenerPort) == p.Fence.Lease {
			return lb.LoadBalancer, nil
		}
	}
	return api.LoadBalancer{}, fmt.Errorf("no usable load balancer of pool %s has port lease %s", pool, p.Fence.Lease)
}
