package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/portpool"
	"github.com/portlease/portlease/shared/api"
)

// errTaken means that a planned port can never be had by this plan.
var errTaken = errors.New("the port was taken by another")

// advance brings a claim to granted from wherever it stands. exclude names port
// leases that must not be used.
func (s *Service) advance(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ledger.Record[ledger.Claim], error) {
	if exclude == nil {
		exclude = make(map[string]bool)
	}
	for range rounds {
		next, err := s.step(ctx, r, exclude)
		switch {
		case err == nil && next.Value.State == ledger.Granted:
			return next, nil
		case err == nil:
			r = next
		case errors.Is(err, ledger.ErrConflict):
			if r, err = s.Claims.Get(ctx, r.Name); errors.Is(err, ledger.ErrAbsent) {
				return r, api.Errorf(api.Unsettled, "the claim was released meanwhile; ask again").WithRetryAfter(retrySoon)
			} else if err != nil {
				return r, unavailable(err)
			}
		default:
			return next, err // with the plan that the step has given up
		}
	}
	return r, errCrowded
}

// step does one thing for a claim. ledger.ErrConflict means: read the claim
// again.
func (s *Service) step(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ledger.Record[ledger.Claim], error) {
	switch r.Value.State {
	case ledger.Ending:
		return r, api.Errorf(api.Releasing, "the earlier claim of this pod is still being released").WithRetryAfter(retrySoon)
	case ledger.Granted:
		gone, err := s.notHeld(ctx, r)
		if err != nil || len(gone) == 0 {
			return r, err
		}
		for _, lease := range gone {
			exclude[lease] = true
		}
		return s.replan(ctx, r, exclude)
	case ledger.Waiting:
	}
	if len(r.Value.Ports) == 0 {
		return s.replan(ctx, r, exclude)
	}
	for i, p := range r.Value.Ports {
		err := errTaken
		if !exclude[p.Fence.Lease] {
			err = s.take(ctx, r, i)
		}
		if errors.Is(err, errTaken) {
			exclude[p.Fence.Lease] = true
			return s.replan(ctx, r, exclude)
		}
		if err != nil {
			return r, err
		}
	}
	r.Value.State = ledger.Granted
	r.Value.RenewedAt = s.Now()
	granted, err := s.Claims.Update(ctx, r)
	if err != nil {
		return r, writeError(err)
	}
	for _, p := range granted.Value.Ports {
		s.Log.InfoContext(ctx, "port claimed", "holder", granted.Value.Namespace+"/"+granted.Value.Pod, "lease", p.Fence.Lease, "port", p.ListenerPort, "generation", p.Fence.Generation)
	}
	return granted, nil
}

// writeError keeps a lost compare-and-swap apart from a write of unknown
// outcome.
func writeError(err error) error {
	if errors.Is(err, ledger.ErrConflict) {
		return ledger.ErrConflict
	}
	return unavailable(err)
}

// notHeld gives the port leases of a granted claim that are not the claim's any
// more. A lease that a person deleted is written again with the same fence, so
// that the binding in AWS stays the claim's.
func (s *Service) notHeld(ctx context.Context, r ledger.Record[ledger.Claim]) ([]string, error) {
	var gone []string
	for i, p := range r.Value.Ports {
		restored := s.held(r, i)
		restored.Restored = true
		port, err := s.restore(ctx, p.Fence, restored)
		switch {
		case errors.Is(err, ledger.ErrAbsent):
			gone = append(gone, p.Fence.Lease)
		case err != nil: // one that cannot be read is waited for: it may well be this claim's
			return nil, unavailable(err)
		case !port.HeldBy(r.Name, p.Fence):
			gone = append(gone, p.Fence.Lease)
		}
	}
	return gone, nil
}

// restore gives the port lease of a holding, written again if it was lost: if
// there is none, or if what is there is nobody's and older than the holding, as
// after somebody put back a backup.
func (s *Service) restore(ctx context.Context, f api.Fence, holding ledger.Port) (ledger.Port, error) {
	for range rounds {
		port, err := s.Ports.Get(ctx, f.Lease)
		switch {
		case errors.Is(err, ledger.ErrAbsent):
			port, err = s.Ports.Create(ctx, f.Lease, holding)
		case err != nil:
			return port.Value, err
		case nobodys(port.Value, f):
			holding.Closed = port.Value.Closed
			port.Value = holding
			port, err = s.Ports.Update(ctx, port)
		default:
			return port.Value, nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return port.Value, err
		}
	}
	return ledger.Port{}, errCrowded
}

// nobodys tells whether a record knows of no holder since before a holding.
func nobodys(p ledger.Port, f api.Fence) bool {
	return p.State != "" && !p.Held() && (p.Generation == 0 || p.Epoch == f.Epoch && p.Generation < f.Generation)
}

// held is the record of a planned port once it is taken.
func (s *Service) held(r ledger.Record[ledger.Claim], i int) ledger.Port {
	p := r.Value.Ports[i]
	return ledger.Port{
		LoadBalancerARN: r.Value.LoadBalancer.ARN, ListenerPort: p.ListenerPort, State: ledger.Claimed,
		Holder: r.Name, Epoch: p.Fence.Epoch, Generation: p.Fence.Generation,
		Namespace: r.Value.Namespace, Pod: r.Value.Pod, PodUID: r.Value.PodUID,
		PortName: r.Value.Wanted[i].Name, CooldownTime: p.Cooldown, TouchedAt: s.Now(),
	}
}

// replan writes a new plan and gives back what the old one had taken. When
// nothing fits, the claim waits without ports.
func (s *Service) replan(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ledger.Record[ledger.Claim], error) {
	before := r.Value.Ports
	if r.Value.State == ledger.Granted {
		// A renewal hands out nothing to a pod that is gone; PUT has looked.
		pod, err := s.LookAtPod(ctx, r.Value.Namespace, r.Value.Pod)
		if err != nil {
			return r, unavailable(err)
		}
		if ledger.Gone(pod, r.Value.PodUID) {
			return r, api.Errorf(api.Forbidden, "pod %s/%s with UID %s is gone or has ended", r.Value.Namespace, r.Value.Pod, r.Value.PodUID)
		}
	}
	ports := s.viewPorts()
	if len(before) == 0 {
		if port, found := s.returning(r.Value, ports); found {
			return r, api.Errorf(api.Unsettled, "port %d, which this pod had before, is still being unbound; ask again to get it back", port).WithRetryAfter(retrySoon)
		}
	}
	next, exhausted := s.plan(r, ports, exclude)
	if exhausted != nil {
		if !errors.Is(exhausted, portpool.ErrExhausted) {
			return r, exhausted
		}
		if r.Value.State == ledger.Granted && slices.ContainsFunc(before, func(p ledger.PlannedPort) bool { return !exclude[p.Fence.Lease] }) {
			// Players may be on what it has: that is not given up for what is missing.
			return r, s.exhausted(r.Value)
		}
		// What it had is released, and so is whatever is a target there.
		next.Ports, next.State, next.FormerIP = nil, ledger.Waiting, ""
	}
	if exhausted == nil || len(before) > 0 {
		next.Planned, next.RenewedAt = true, s.Now()
		r.Value = next
		var err error
		if r, err = s.Claims.Update(ctx, r); err != nil {
			return r, writeError(err)
		}
	}
	for _, p := range before {
		if !next.Lists(p.Fence) {
			if err := s.giveBack(ctx, r.Name, p.Fence, ledger.AgentAbsent); err != nil {
				return r, err
			}
		}
	}
	if exhausted != nil {
		return r, s.exhausted(r.Value)
	}
	return r, nil
}

// take makes one planned port the claim's, always by a write. errTaken means
// that this plan can never have it.
func (s *Service) take(ctx context.Context, r ledger.Record[ledger.Claim], i int) error {
	p, value := r.Value.Ports[i], s.held(r, i)
	for range rounds {
		port, err := s.Ports.Get(ctx, p.Fence.Lease)
		switch {
		case errors.Is(err, ledger.ErrAbsent) && p.Fence.Generation == 1:
			_, err = s.Ports.Create(ctx, p.Fence.Lease, value)
		case errors.Is(err, ledger.ErrAbsent):
			return errTaken // the lease was deleted: a new plan starts a new epoch
		case errors.Is(err, ledger.ErrUnreadable):
			return errTaken // whose it is cannot be told: it is nobody's to take
		case err != nil:
			return unavailable(err)
		case port.Value.HeldBy(r.Name, p.Fence):
			port.Value.TouchedAt = s.Now()
			_, err = s.Ports.Update(ctx, port)
		case precedes(port.Value, p.Fence) && open(port.Value, r.Value):
			port.Value = value
			_, err = s.Ports.Update(ctx, port)
		default:
			return errTaken
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return unavailable(err)
		}
	}
	return errCrowded
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
			*p = p.LetGo(agent)
		}
		return nil
	})
	if wrote {
		s.Nudge()
	}
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return nil // once it can be read, the janitor finds that no claim lists it
	}
	return err
}

// settleIP makes sure that no other claim records this pod's address. The claim
// lease exists before this look, so of two claims with one address at least one
// sees the other.
func (s *Service) settleIP(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	others, err := s.Claims.OfPodIP(ctx, r.Value.PodIP)
	if err != nil {
		return unavailable(err)
	}
	others = slices.DeleteFunc(others, func(o ledger.Record[ledger.Claim]) bool {
		return o.Name == r.Name || o.Value.State == ledger.Ending
	})
	for _, o := range others {
		pod, err := s.LookAtPod(ctx, o.Value.Namespace, o.Value.Pod)
		if err != nil {
			return unavailable(err)
		}
		if !ledger.Gone(pod, o.Value.PodUID) {
			return api.Errorf(api.Unsettled, "pod %s/%s still has address %s in the ledger; ask again when it has moved or gone",
				o.Value.Namespace, o.Value.Pod, r.Value.PodIP).WithRetryAfter(retrySoon)
		}
		o.Value.State = ledger.Ending
		o.Value.RenewedAt = s.Now()
		if _, err := s.Claims.Update(ctx, o); errors.Is(err, ledger.ErrConflict) {
			return errCrowded // somebody else ended it, or its holder is back
		} else if err != nil {
			return unavailable(err)
		}
		s.Log.InfoContext(ctx, "claim reclaimed because its address has a new pod", "holder", o.Value.Namespace+"/"+o.Value.Pod, "podIP", r.Value.PodIP)
		s.Nudge()
	}
	return nil
}
