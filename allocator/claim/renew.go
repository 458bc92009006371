package claim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// maxMilestone bounds what an agent can report: days say no more than a day.
const maxMilestone = 24 * time.Hour

// Renew extends a claim, unless it was written less than half a renewal interval ago: an
// agent also renews to ask for its next calls to AWS. A claim whose lease was deleted is
// adopted: rebuilt from what the agent presents, if nobody else holds its ports.
func (s *Service) Renew(ctx context.Context, h Holder, req api.RenewRequest) (api.RenewAnswer, error) {
	if err := req.Validate(); err != nil {
		return api.RenewAnswer{}, api.Errorf(api.Invalid, "%v", err)
	}
	r, _, err := ledger.Change(ctx, s.Claims, ledger.ClaimName(h.UID), func(r ledger.Record[ledger.Claim]) (ledger.Claim, bool, error) {
		next := r.Value
		if next.State == ledger.ClaimReleasing || r.UID != req.ClaimUID && !presentsAll(next, req) {
			return next, false, api.Errorf(api.Lost, "the claim is over: stop announcing, unbind, and claim again")
		}
		next.RenewedAt, next.Retries = s.Now(), s.retries(r, req.Failed)
		return next, next.Retries != r.Value.Retries || s.Age(r.Name, r.Version) >= s.RenewEvery/2, nil
	})
	if errors.Is(err, ledger.ErrAbsent) {
		r, err = s.adopt(ctx, h, req)
	}
	if err != nil {
		return api.RenewAnswer{}, problem(err)
	}
	s.passed(r.Value.Pool, req.Milestones)
	return s.renewed(ctx, r, req)
}

// passed records the milestones that an agent reports.
func (s *Service) passed(pool string, m api.Milestones) {
	if m == (api.Milestones{}) {
		return // as most renewals
	}
	for milestone, seconds := range map[string]float64{"granted": m.Granted, "bound": m.Bound, "announced": m.Announced, "healthy": m.Healthy} {
		if seconds > 0 {
			s.Passed(milestone, pool, time.Duration(min(seconds, maxMilestone.Seconds())*float64(time.Second)))
		}
	}
}

// presentsAll reports whether an agent means this claim although it names another
// lease: the claim was adopted, and the answer that said so was lost. Fences of an
// earlier claim are never listed again.
func presentsAll(c ledger.Claim, req api.RenewRequest) bool {
	for _, p := range req.Ports {
		if !c.Lists(p.Fence) {
			return false
		}
	}
	return len(c.Ports) > 0 && len(req.Ports) == len(c.Ports)
}

// renewed completes a claim that was renewed: one that is between two plans goes on,
// and deleted port leases are restored. Describe calls are reserved if nothing has
// to be bound.
//
// Most renewals find everything in place, and cost one write and no read, or one read if
// the claim was written a moment ago. Either has proved the claim, and while the claim
// lists a port nobody else can have it. If the cache is stale, for example after an admin
// has deleted a lease, the next renewal sees it.
func (s *Service) renewed(ctx context.Context, r ledger.Record[ledger.Claim], req api.RenewRequest) (answer api.RenewAnswer, err error) {
	if ports, whole := s.cachedWhole(r); whole {
		s.reportThrottled(ctx, r, req.Throttled)
		answer.Claim = s.toAPI(r, ports)
		return s.withDescribes(ctx, answer, req.Describes)
	}
	before, renewed, b := r.Value.Ports, r, s.reservation(req.Throttled)
	var ports []ledger.Port
	s.Both(ctx, func(ctx context.Context) {
		r, ports, err = s.complete(ctx, renewed, confirmation{}, nil, nil)
	}, func(ctx context.Context) {
		if cached, held := s.cachedHeld(renewed); held {
			b.reserve(ctx, renewed, cached)
		}
	})
	if errors.Is(err, api.ErrExhausted) && len(r.Value.Ports) == 0 {
		// The claim had ports, other claims hold them by now, and no others are free.
		return api.RenewAnswer{}, api.Errorf(api.Lost, "other claims hold this claim's ports and the pool has no free ones: stop announcing, unbind, and claim again")
	}
	if err != nil {
		return api.RenewAnswer{}, err
	}
	answer.Claim = s.toAPI(r, ports)
	for i, p := range answer.Claim.Ports {
		if ports[i].State != ledger.Bound || i < len(before) && before[i].Fence != p.Fence {
			answer.Rebind = append(answer.Rebind, p.Fence.Lease)
		}
	}
	if len(answer.Rebind) > 0 {
		answer.Claim, err = s.answer(ctx, r, ports, b)
		return answer, err
	}
	s.reportThrottled(ctx, r, b.throttled)
	return s.withDescribes(ctx, answer, req.Describes)
}

// reportThrottled reports throttled calls of an agent that has nothing to bind. A renewal
// does not fail because the budget is unavailable.
func (s *Service) reportThrottled(ctx context.Context, r ledger.Record[ledger.Claim], calls int) {
	if calls == 0 {
		return
	}
	if err := s.Budget.Throttled(ctx, r.Name, calls); err != nil {
		s.Log.WarnContext(ctx, "AWS budget unavailable; throttled calls not recorded", "err", err)
	}
}

// cachedWhole returns the ports of a granted claim if the cache shows all of them
// bound.
func (s *Service) cachedWhole(r ledger.Record[ledger.Claim]) ([]ledger.Port, bool) {
	ports, held := s.cachedHeld(r)
	unbound := func(p ledger.Port) bool { return p.State != ledger.Bound }
	return ports, held && !slices.ContainsFunc(ports, unbound)
}

// cachedHeld returns the ports of a granted claim if the cache shows that it holds all of
// them.
func (s *Service) cachedHeld(r ledger.Record[ledger.Claim]) ([]ledger.Port, bool) {
	if r.Value.State != ledger.Granted {
		return nil, false
	}
	var ports []ledger.Port
	for _, p := range r.Value.Ports {
		port, cached := s.Ports.Cached(p.Fence.Lease)
		if !cached || !port.Value.HeldBy(r.Name, p.Fence) {
			return nil, false
		}
		ports = append(ports, port.Value)
	}
	return ports, true
}

// withDescribes reserves describe calls for an agent. A renewal does not fail because
// the budget is unavailable.
func (s *Service) withDescribes(ctx context.Context, answer api.RenewAnswer, calls int) (api.RenewAnswer, error) {
	if calls == 0 {
		return answer, nil
	}
	reserved, wait, err := s.Budget.ReserveDescribes(ctx, calls)
	if ctx.Err() != nil {
		return answer, unavailable(err)
	}
	if err != nil {
		s.Log.WarnContext(ctx, "AWS budget unavailable; health polling postponed", "err", err)
		wait = retrySoon
	}
	answer.Describes, answer.DescribeAfterSeconds = reserved, wait.Seconds()
	return answer, nil
}
