package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// errTaken means that a planned port can never be had by this plan.
var errTaken = errors.New("the port was taken by another")

// advance brings a claim to granted from wherever it stands, and gives its ports
// in the order of its plan. exclude names port leases that must not be used.
func (s *Service) advance(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ledger.Record[ledger.Claim], []ledger.Port, error) {
	if exclude == nil {
		exclude = make(map[string]bool)
	}
	for range rounds {
		next, ports, err := s.step(ctx, r, exclude)
		switch {
		case err == nil && next.Value.State == ledger.Granted:
			return next, ports, nil
		case err == nil:
			r = next
		case errors.Is(err, ledger.ErrConflict):
			if r, err = s.again(ctx, r); err != nil {
				return r, nil, err
			}
		default:
			return next, nil, err // with the plan that the step has given up
		}
	}
	return r, nil, errCrowded
}

// again reads a claim that somebody else has written meanwhile. That its address is
// settled may not be written yet.
func (s *Service) again(ctx context.Context, before ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	r, err := s.Claims.Get(ctx, before.Name)
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return r, api.Errorf(api.Pending, "the claim was released meanwhile; ask again").WithRetryAfter(retrySoon)
	case err != nil:
		return r, unavailable(err)
	case r.UID == before.UID && r.Value.AddressChanges == before.Value.AddressChanges && before.Value.ConfirmedIP != "":
		r.Value.ConfirmedIP = before.Value.ConfirmedIP
	}
	return r, nil
}

// step does one thing for a claim; a granted one comes with its ports.
// ledger.ErrConflict means: read the claim again.
func (s *Service) step(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ledger.Record[ledger.Claim], []ledger.Port, error) {
	var ports []ledger.Port
	var err error
	switch r.Value.State {
	case ledger.ClaimReleasing:
		return r, nil, api.Errorf(api.Releasing, "the earlier claim of this pod is still being released").WithRetryAfter(retrySoon)
	case ledger.Granted:
		if ports, err = s.holdings(ctx, r, exclude); !errors.Is(err, errTaken) {
			return r, ports, err
		}
	case ledger.Waiting:
		if ports, err = s.takeAll(ctx, r, exclude); err == nil {
			r, err = s.grant(ctx, r)
			return r, ports, err
		}
		if !errors.Is(err, errTaken) {
			return r, nil, err
		}
	}
	r, err = s.replan(ctx, r, exclude)
	return r, nil, err
}

// grant writes that all ports of a claim are taken.
func (s *Service) grant(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
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

// holdings gives the ports of a granted claim. errTaken means that some are not the
// claim's any more, which are excluded then. A lease that a person deleted is
// written again with the same fence, so that the binding in AWS stays the claim's.
func (s *Service) holdings(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ports []ledger.Port, err error) {
	var taken error
	for i, p := range r.Value.Ports {
		restored := s.held(r, i)
		restored.Restored = true
		port, err := s.restore(ctx, p.Fence, restored)
		if err != nil { // one that cannot be read is waited for: it may well be this claim's
			return nil, unavailable(err)
		}
		if !port.HeldBy(r.Name, p.Fence) {
			exclude[p.Fence.Lease], taken = true, errTaken
		}
		ports = append(ports, port)
	}
	return ports, taken
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
			holding.BlockedBy = port.Value.BlockedBy
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

// replan writes a new plan and gives back what the old one had taken. When
// nothing fits, the claim waits without ports.
func (s *Service) replan(ctx context.Context, r ledger.Record[ledger.Claim], exclude map[string]bool) (ledger.Record[ledger.Claim], error) {
	before := r.Value.Ports
	if r.Value.State == ledger.Granted {
		// A renewal hands out nothing to a pod that is gone; PUT has looked.
		pod, err := s.GetPod(ctx, r.Value.Namespace, r.Value.Pod)
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
			return r, api.Errorf(api.Pending, "port %d, which this pod had before, is still being unbound; ask again to get it back", port).WithRetryAfter(retrySoon)
		}
	}
	next, exhausted := s.plan(r, ports, exclude)
	if exhausted != nil {
		if !errors.Is(exhausted, pool.ErrExhausted) {
			return r, exhausted
		}
		if r.Value.State == ledger.Granted && slices.ContainsFunc(before, func(p ledger.PlannedPort) bool { return !exclude[p.Fence.Lease] }) {
			// Players may be on what it has: that is not given up for what is missing.
			return r, s.exhausted(r.Value)
		}
		// What it had is released, and so is whatever is a target there.
		next.Ports, next.State, next.PreviousIP = nil, ledger.Waiting, ""
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
