package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// maxGeneration is more holders than a port can ever have, and fits the Lease's
// field.
const maxGeneration = 1 << 30

var errNotAdopted = api.Errorf(api.Lost, "the claim lease is gone and what the agent presents cannot be adopted: stop announcing, unbind, and claim again")

// notAdmitted answers that the pool would refuse the presented ports to a new claim.
func notAdmitted(refusal error) error {
	reason := refusal.Error()
	if problem, ok := errors.AsType[*api.Problem](refusal); ok {
		reason = problem.Detail
	}
	return api.Errorf(api.Lost, "the claim lease is gone, and the pool refuses the claim: %s; stop announcing, unbind, and claim again", reason)
}

// adopt rebuilds the claim of a live pod from what its agent presents. Agents are not
// trusted: their pods can make listeners with any fence in the tags. So a presented
// port is adopted only if the pool would grant it to a new claim, if AWS has its
// listener there with tags that name this pod and this fence, and if its port lease is
// lost too or says that this very claim holds it.
func (s *Service) adopt(ctx context.Context, h Holder, req api.RenewRequest) (ledger.Record[ledger.Claim], error) {
	none := ledger.Record[ledger.Claim]{}
	if err := s.checkPod(ctx, h, req.PodIP); errors.Is(err, api.ErrForbidden) {
		return none, api.Errorf(api.Lost, "the pod is gone, and so is its claim")
	} else if err != nil {
		return none, err
	}
	c, err := s.presented(h, req)
	if err != nil {
		return none, err
	}
	name := ledger.ClaimName(h.UID)
	holdings := make([]ledger.Port, len(c.Ports))
	for i, p := range c.Ports {
		holdings[i] = s.holding(ledger.Record[ledger.Claim]{Name: name, Value: c}, i)
		holdings[i].TargetGroupARN, holdings[i].ListenerARN, holdings[i].State = req.Ports[i].TargetGroupARN, req.Ports[i].ListenerARN, ledger.Bound
		if err := s.checkPresented(ctx, h, holdings[i], p.Fence); err != nil {
			return none, err
		}
	}
	r, err := s.Claims.Create(ctx, name, c)
	if errors.Is(err, ledger.ErrConflict) {
		return none, errContended
	}
	if err != nil {
		return none, unavailable(err)
	}
	if err := s.checkQuota(ctx, r); err != nil {
		if errors.Is(err, api.ErrQuota) {
			err = notAdmitted(err)
		}
		// Its lease must not stay: a renewal takes an existing claim for an admitted one.
		return none, s.deleteUnadmitted(ctx, r, err)
	}
	if err := s.checkAddress(ctx, r); err != nil {
		return none, err
	}
	r, err = s.write(ctx, r, r.Value, confirmationOf(r))
	if errors.Is(err, ledger.ErrConflict) {
		return none, errContended
	}
	if err != nil {
		return none, err
	}
	for i, p := range c.Ports {
		if _, err := s.restore(ctx, p.Fence, holdings[i]); err != nil && !errors.Is(err, ledger.ErrUnreadable) {
			return none, problem(err)
		}
	}
	s.Log.WarnContext(ctx, "claim adopted because its leases were lost", "holder", h.Namespace+"/"+h.Pod, "ports", len(c.Ports))
	return r, nil
}

// presented is the claim that an agent's ports amount to: all on one usable load
// balancer of the pool, inside its ranges.
func (s *Service) presented(h Holder, req api.RenewRequest) (ledger.Claim, error) {
	c := ledger.Claim{
		Namespace: h.Namespace, Pod: h.Pod, PodUID: h.UID, PodIP: req.PodIP, Pool: req.Pool,
		State: ledger.Granted, Duration: s.Duration, RenewedAt: s.Now(), AcquiredAt: s.Now(),
	}
	if len(req.Ports) == 0 {
		return c, errNotAdopted
	}
	from, _ := s.Pools.Pool(req.Pool)
	i := slices.IndexFunc(from.LoadBalancers, func(lb pool.LoadBalancer) bool { return names(req.Ports[0], lb) })
	if i < 0 {
		return c, api.Errorf(api.Unavailable, "no usable load balancer of pool %s has port lease %s", req.Pool, req.Ports[0].Fence.Lease).WithRetryAfter(retryExhausted)
	}
	lb := from.LoadBalancers[i]
	c.LoadBalancer = lb.LoadBalancer
	for _, p := range req.Ports {
		inRange := slices.ContainsFunc(lb.Ranges, func(r pool.Range) bool { return r.Contains(p.ListenerPort) })
		if !inRange || !names(p, lb) || p.Fence.Epoch == "" || p.Fence.Generation < 1 || p.Fence.Generation > maxGeneration {
			return c, errNotAdopted
		}
		if p.HealthCheck.Port != 0 {
			c.HealthPort = p.HealthCheck.Port
		}
		c.Requested = append(c.Requested, p.Port)
		c.Ports = append(c.Ports, ledger.PlannedPort{
			ListenerPort: p.ListenerPort, Fence: p.Fence, HealthCheck: p.HealthCheck, Attributes: p.Attributes, Cooldown: from.Terms.Cooldown,
		})
	}
	if err := api.ValidatePorts(c.Requested); err != nil {
		return c, api.Errorf(api.Invalid, "%v", err)
	}
	if err := from.Admit(h.Namespace, c.Requested); err != nil {
		return c, notAdmitted(err)
	}
	return c, nil
}

// names reports whether a presented fence names a port of that load balancer.
func names(p api.ClaimedPort, lb pool.LoadBalancer) bool {
	return p.Fence.Lease == ledger.PortName(ledger.LoadBalancerID(lb.ARN), p.ListenerPort)
}

// checkPresented refuses a presented binding that AWS does not have exactly so, and
// one whose port lease does not say that this claim holds the port. A lease that is
// blocked, cooling down, free or another's is no proof of a holding, even if it is
// older than the presented one.
func (s *Service) checkPresented(ctx context.Context, h Holder, p ledger.Port, f api.Fence) error {
	if !targetGroupOf(p, s.TargetGroupName(s.Ledger, f), p.TargetGroupARN) || !listenerOf(p, p.ListenerARN) {
		return errNotAdopted
	}
	port, err := s.Ports.Get(ctx, f.Lease)
	switch {
	case errors.Is(err, ledger.ErrAbsent):
	case err != nil:
		return unavailable(err)
	case !port.Value.HeldBy(ledger.ClaimName(h.UID), f):
		return lost(f)
	}
	owner, err := s.Pools.ListenerOwner(ctx, p.ListenerARN)
	if err != nil {
		return unavailable(err)
	}
	found, err := s.Pools.Inspect(ctx, p.LoadBalancerARN)
	if err != nil {
		return unavailable(err)
	}
	if owner.PodUID != h.UID || owner.Fence != f || !found.Forwards(p.ListenerPort, p.TargetGroupARN) {
		return errNotAdopted
	}
	return nil
}
