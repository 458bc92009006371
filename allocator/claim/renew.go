package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Renew prolongs a claim. A claim whose lease was deleted is taken up again from
// what the agent presents, if nobody else holds its ports.
func (s *Service) Renew(ctx context.Context, h Holder, req api.RenewRequest) (api.RenewAnswer, error) {
	if err := req.Validate(); err != nil {
		return api.RenewAnswer{}, api.Errorf(api.Invalid, "%v", err)
	}
	if req.Throttled > 0 {
		if err := s.Budget.Throttled(ctx, req.Throttled); err != nil {
			s.Log.WarnContext(ctx, "throttling not recorded", "err", err)
		}
	}
	r, fresh, err := s.lookup(ctx, h)
	for range rounds {
		switch {
		case errors.Is(err, ledger.ErrAbsent):
			if r, err = s.adopt(ctx, h, req); err != nil {
				return api.RenewAnswer{}, err
			}
			return s.renewed(ctx, r, req.Describes)
		case err != nil:
			return api.RenewAnswer{}, unavailable(err)
		case r.Value.State != ledger.ClaimReleasing && (r.UID == req.ClaimUID || presentsAll(r.Value, req)):
			r.Value.RenewedAt = s.Now()
			updated, err := s.Claims.Update(ctx, r)
			if err == nil {
				return s.renewed(ctx, updated, req.Describes)
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
	if r, seen := s.Claims.Cached(name); seen {
		return r, false, nil
	}
	r, err = s.Claims.Get(ctx, name)
	return r, true, err
}

// renewed completes a claim that was renewed: one that is half moved goes on,
// and deleted port leases are restored. looks are paid for if all is in place.
//
// Most renewals find all in place, and cost one write and no read: that write has
// proved the claim, and while it lists a port nobody else can have it. What the view
// shows late, such as a lease that a person has deleted, the next renewal sees.
func (s *Service) renewed(ctx context.Context, r ledger.Record[ledger.Claim], looks int) (answer api.RenewAnswer, err error) {
	if ports, whole := s.wholeInView(r); whole {
		answer.Claim = s.wire(r, ports)
		if looks > 0 {
			err = s.look(ctx, &answer, looks)
		}
		return answer, err
	}
	before := r.Value.Ports
	r, ports, err := s.advance(ctx, r, nil)
	if errors.Is(err, api.ErrExhausted) && len(r.Value.Ports) == 0 {
		// It had ports, they are another's by now, and there are no others.
		return api.RenewAnswer{}, api.Errorf(api.Lost, "the claim's ports are another's and the pool has no others: stop announcing, unbind, and claim again")
	}
	if err != nil {
		return api.RenewAnswer{}, err
	}
	answer.Claim = s.wire(r, ports)
	for i, p := range answer.Claim.Ports {
		if ports[i].State != ledger.Bound || i < len(before) && before[i].Fence != p.Fence {
			answer.Rebind = append(answer.Rebind, p.Fence.Lease)
		}
	}
	switch {
	case len(answer.Rebind) > 0:
		answer.Claim, err = s.paid(ctx, r, ports, 0)
	case looks > 0:
		err = s.look(ctx, &answer, looks)
	}
	return answer, err
}

// wholeInView gives the ports of a granted claim if the view shows all of them bound.
func (s *Service) wholeInView(r ledger.Record[ledger.Claim]) ([]ledger.Port, bool) {
	if r.Value.State != ledger.Granted {
		return nil, false
	}
	var ports []ledger.Port
	for _, p := range r.Value.Ports {
		port, seen := s.Ports.Cached(p.Fence.Lease)
		if !seen || port.Value.State != ledger.Bound || !port.Value.HeldBy(r.Name, p.Fence) {
			return nil, false
		}
		ports = append(ports, port.Value)
	}
	return ports, true
}

// look pays for an agent's looks. A renewal is not refused because the budget
// cannot be asked.
func (s *Service) look(ctx context.Context, answer *api.RenewAnswer, looks int) error {
	paid, wait, err := s.Budget.ReserveDescribes(ctx, looks)
	if ctx.Err() != nil {
		return unavailable(err)
	}
	if err != nil {
		s.Log.WarnContext(ctx, "budget not asked", "err", err)
		wait = retrySoon
	}
	answer.Describes, answer.DescribeAfterSeconds = paid, wait.Seconds()
	return nil
}
