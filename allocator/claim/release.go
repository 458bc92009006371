package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Release begins to release a claim: after it no port of the claim can be bound
// any more, and whoever deletes first, agent or janitor, is right. Repeating it
// changes nothing.
func (s *Service) Release(ctx context.Context, h Holder, req api.ReleaseRequest) (api.ReleaseAnswer, error) {
	for range rounds {
		r, err := s.Claims.Get(ctx, ledger.ClaimName(h.UID))
		if errors.Is(err, ledger.ErrAbsent) || err == nil && r.UID != req.ClaimUID {
			return api.ReleaseAnswer{}, api.Errorf(api.Lost, "the claim is gone already")
		}
		if err != nil {
			return api.ReleaseAnswer{}, unavailable(err)
		}
		if r.Value.State != ledger.ClaimReleasing {
			r.Value.State, r.Value.Agent = ledger.ClaimReleasing, s.unbinder(ctx, r, req.Deregister)
			r.Value.RenewedAt = s.Now()
			if _, err := s.Claims.Update(ctx, r); errors.Is(err, ledger.ErrConflict) {
				continue
			} else if err != nil {
				return api.ReleaseAnswer{}, unavailable(err)
			}
			s.Log.InfoContext(ctx, "claim releasing", "holder", h.Namespace+"/"+h.Pod, "ports", len(r.Value.Ports))
		}
		return s.releasing(ctx, r)
	}
	return api.ReleaseAnswer{}, errCrowded
}

// unbinder says who deletes the bindings of a claim that ends: its agent, if the
// budget has calls to spare, and else the janitor when it has them.
func (s *Service) unbinder(ctx context.Context, r ledger.Record[ledger.Claim], deregister bool) ledger.AgentPart {
	bindings := 0
	for _, p := range r.Value.Ports {
		if port, seen := s.Ports.Cached(p.Fence.Lease); !seen || port.Value.TargetGroupARN != "" {
			bindings++
		}
	}
	if bindings == 0 {
		return ledger.AgentUnbinding // there is nothing to delete that the ledger knows of
	}
	spare, err := s.Budget.TryOpportunistic(ctx, r.Name, bindings, deregister)
	if err != nil {
		s.Log.WarnContext(ctx, "budget not asked", "err", err)
	}
	if !spare {
		return ledger.AgentAbsent
	}
	return ledger.AgentUnbinding
}

// releasing moves the ports of an ending claim and says what there is to unbind.
func (s *Service) releasing(ctx context.Context, r ledger.Record[ledger.Claim]) (api.ReleaseAnswer, error) {
	defer s.WakeJanitor()
	answer := api.ReleaseAnswer{Unbind: r.Value.Agent == ledger.AgentUnbinding, Ports: []api.ClaimedPort{}}
	for i, p := range r.Value.Ports {
		if err := s.giveBack(ctx, r.Name, p.Fence, r.Value.Agent); err != nil {
			return api.ReleaseAnswer{}, err
		}
		port, err := s.Ports.Get(ctx, p.Fence.Lease)
		if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
			continue
		}
		if err != nil {
			return api.ReleaseAnswer{}, unavailable(err)
		}
		if port.Value.Holds(r.Name, p.Fence) {
			answer.Ports = append(answer.Ports, s.claimed(r.Value, i, port.Value))
		}
	}
	return answer, nil
}

// Finish hears which port leases an agent is done unbinding. It believes
// nothing: it only stops the janitor's waiting, which confirms what is gone. A
// claim that is not there any more has nothing to finish.
func (s *Service) Finish(ctx context.Context, h Holder, claimUID string, gone []string) error {
	r, err := s.Claims.Get(ctx, ledger.ClaimName(h.UID))
	if errors.Is(err, ledger.ErrAbsent) || err == nil && r.UID != claimUID {
		return nil
	}
	if err != nil {
		return unavailable(err)
	}
	for _, p := range r.Value.Ports {
		if !slices.Contains(gone, p.Fence.Lease) {
			continue
		}
		if err := s.finish(ctx, r.Name, p.Fence); err != nil {
			return err
		}
	}
	s.WakeJanitor()
	return nil
}

func (s *Service) finish(ctx context.Context, claim string, f api.Fence) error {
	_, err := s.changePort(ctx, f.Lease, func(p *ledger.Port) error {
		if p.State == ledger.Releasing && p.Holds(claim, f) && p.Agent == ledger.AgentUnbinding {
			p.Agent = ledger.AgentDone
		}
		return nil
	})
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return nil
	}
	return err
}

// Show gives the claim of a pod for people.
func (s *Service) Show(ctx context.Context, podUID string) (api.Claim, error) {
	r, err := s.Claims.Get(ctx, ledger.ClaimName(podUID))
	if errors.Is(err, ledger.ErrAbsent) {
		return api.Claim{}, api.Errorf(api.NotFound, "the pod has no claim")
	}
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	ports, err := s.portsOf(ctx, r)
	if err != nil {
		return api.Claim{}, err
	}
	return s.wire(r, ports), nil
}
