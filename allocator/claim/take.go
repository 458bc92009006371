package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// takeAll takes the ports of a plan. errTaken means that there is none, or that a
// port of it, which is excluded then, can never be had.
func (s *Service) takeAll(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ports []ledger.Port, err error) {
	for i, p := range r.Value.Ports {
		if exclude[p.Fence.Lease] {
			return nil, errTaken
		}
		port, err := s.take(ctx, r, i)
		if errors.Is(err, errTaken) {
			exclude[p.Fence.Lease] = true
		}
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	if len(ports) == 0 {
		return nil, errTaken
	}
	return ports, nil
}

// take makes one planned port the claim's, always by a write. errTaken means
// that this plan can never have it, which no view can say: that is only tried first.
func (s *Service) take(ctx context.Context, r ledger.Record[ledger.Claim], i int) (ledger.Port, error) {
	p, value := r.Value.Ports[i], s.held(r, i)
	port, seen := s.Ports.Cached(p.Fence.Lease)
	var err error
	if !seen {
		err = ledger.ErrAbsent
	}
	for round := range rounds {
		if round > 0 {
			port, err = s.Ports.Get(ctx, p.Fence.Lease)
		}
		switch {
		case errors.Is(err, ledger.ErrAbsent) && p.Fence.Generation == 1:
			port, err = s.Ports.Create(ctx, p.Fence.Lease, value)
		case err == nil && port.Value.HeldBy(r.Name, p.Fence):
			port.Value.UpdatedAt = s.Now()
			port, err = s.Ports.Update(ctx, port)
		case err == nil && precedes(port.Value, p.Fence) && open(port.Value, r.Value):
			port.Value = value
			port, err = s.Ports.Update(ctx, port)
		case round == 0:
			continue
		case err == nil, errors.Is(err, ledger.ErrAbsent), errors.Is(err, ledger.ErrUnreadable):
			// Another's; or deleted, then a new plan starts a new epoch; or whose it is
			// cannot be told, then it is nobody's to take.
			return ledger.Port{}, errTaken
		}
		if err == nil {
			return port.Value, nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return ledger.Port{}, unavailable(err)
		}
	}
	return ledger.Port{}, errCrowded
}

// precedes tells whether a fence is the next after what a port lease has. One
// that was only ever blocked has no epoch: its first holder's is new.
func precedes(p ledger.Port, f api.Fence) bool {
	return p.Generation == f.Generation-1 && (p.Epoch == f.Epoch || p.Generation == 0)
}

// giveBack lets go of a port that the claim does not need any more; agent says
// who deletes the binding if there may be one.
func (s *Service) giveBack(ctx context.Context, claim string, f api.Fence, agent ledger.AgentPart) error {
	wrote, err := s.changePort(ctx, f.Lease, func(p *ledger.Port) error {
		if p.HeldBy(claim, f) {
			*p = p.BeginRelease(agent)
		}
		return nil
	})
	if wrote {
		s.WakeJanitor()
	}
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return nil // once it can be read, the janitor finds that no claim lists it
	}
	return err
}

// held is the record of a planned port once it is taken.
func (s *Service) held(r ledger.Record[ledger.Claim], i int) ledger.Port {
	p := r.Value.Ports[i]
	return ledger.Port{
		LoadBalancerARN: r.Value.LoadBalancer.ARN, ListenerPort: p.ListenerPort, State: ledger.Claimed,
		Holder: r.Name, Epoch: p.Fence.Epoch, Generation: p.Fence.Generation,
		Namespace: r.Value.Namespace, Pod: r.Value.Pod, PodUID: r.Value.PodUID,
		PortName: r.Value.Requested[i].Name, CooldownTime: p.Cooldown, UpdatedAt: s.Now(),
	}
}
