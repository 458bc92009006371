package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Release begins to release a claim. After it no port of the claim can be bound any
// more, and agent and janitor may both delete. It is idempotent, and it is repeated once
// the agent has deregistered its targets.
func (s *Service) Release(ctx context.Context, h Holder, req api.ReleaseRequest) (api.ReleaseAnswer, error) {
	gone := api.Errorf(api.Lost, "the claim is gone already")
	r, wrote, err := ledger.Change(ctx, s.Claims, ledger.ClaimName(h.UID), func(r ledger.Record[ledger.Claim]) (ledger.Claim, bool, error) {
		next := r.Value
		switch {
		case r.UID != req.ClaimUID:
			return next, false, gone
		case next.State == ledger.ClaimReleasing:
			return next, false, nil
		}
		next.State, next.Agent, next.RenewedAt = ledger.ClaimReleasing, s.agentPart(ctx, r), s.Now()
		return next, true, nil
	})
	if errors.Is(err, ledger.ErrAbsent) {
		err = gone
	}
	if err != nil {
		return api.ReleaseAnswer{}, problem(err)
	}
	if wrote {
		s.Log.InfoContext(ctx, "claim releasing", "holder", h.Namespace+"/"+h.Pod, "ports", len(r.Value.Ports))
	}
	return s.releasePorts(ctx, r, req.Deregistered)
}

// agentPart decides what the agent of a claim does. It deletes its bindings if the budget
// has calls that nobody else needs, and otherwise only deregisters its targets.
func (s *Service) agentPart(ctx context.Context, r ledger.Record[ledger.Claim]) ledger.AgentPart {
	bindings := 0
	for _, p := range r.Value.Ports {
		if port, cached := s.Ports.Cached(p.Fence.Lease); !cached || port.Value.TargetGroupARN != "" {
			bindings++
		}
	}
	if bindings == 0 {
		return ledger.AgentUnbinding // the ledger knows of nothing to delete
	}
	unbinds, err := s.Budget.TryOpportunistic(ctx, r.Name, bindings)
	if err == nil && unbinds {
		return ledger.AgentUnbinding
	}
	// The agent reads the tags of each target group first.
	deregisters, err := s.Budget.Deregister(ctx, r.Name, bindings, bindings)
	if err != nil {
		s.Log.WarnContext(ctx, "AWS budget unavailable; the janitor deletes the bindings", "err", err)
	}
	if deregisters {
		return ledger.AgentDeregistering
	}
	return ledger.AgentAbsent
}

// releasePorts begins to release the ports of a releasing claim, and answers which
// bindings there are. deregistered is the agent's report that their targets are
// deregistered.
func (s *Service) releasePorts(ctx context.Context, r ledger.Record[ledger.Claim], deregistered bool) (api.ReleaseAnswer, error) {
	defer s.WakeJanitor()
	answer := api.ReleaseAnswer{Unbind: r.Value.Agent == ledger.AgentUnbinding, Ports: []api.ClaimedPort{}}
	for i, p := range r.Value.Ports {
		_, err := s.changePort(ctx, p.Fence.Lease, func(port *ledger.Port) error {
			if port.HeldBy(r.Name, p.Fence) {
				*port = port.BeginRelease(r.Value.Agent)
			}
			if port.State == ledger.Releasing && port.Holds(r.Name, p.Fence) {
				port.Deregistered = port.Deregistered || deregistered
			}
			return nil
		})
		if err := ignoreMissing(err); err != nil {
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
			answer.Ports = append(answer.Ports, s.portToAPI(r.Value, i, port.Value))
			answer.Deregister = answer.Deregister || r.Value.Agent != ledger.AgentAbsent && !port.Value.Deregistered
		}
	}
	return answer, nil
}

// Finish records which port leases an agent has finished unbinding. The allocator
// does not trust that: the janitor only stops waiting for the agent, and confirms
// what is gone. A claim that does not exist any more has nothing to finish.
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
		_, err := s.changePort(ctx, p.Fence.Lease, func(port *ledger.Port) error {
			if port.State == ledger.Releasing && port.Holds(r.Name, p.Fence) && port.Agent == ledger.AgentUnbinding {
				port.Agent = ledger.AgentDone
			}
			return nil
		})
		if err := ignoreMissing(err); err != nil {
			return err
		}
	}
	s.WakeJanitor()
	return nil
}
