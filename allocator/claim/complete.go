package claim

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// maxSteps bounds how often one call plans, takes and plans again.
const maxSteps = 50

// leaseSet is a set of port leases. It is never changed, only extended to another.
type leaseSet map[string]bool

func (l leaseSet) with(leases ...string) leaseSet {
	extended := leaseSet{}
	maps.Copy(extended, l)
	for _, lease := range leases {
		extended[lease] = true
	}
	return extended
}

func (l leaseSet) has(p ledger.PlannedPort) bool { return l[p.Fence.Lease] }

// complete takes a claim to granted from wherever it stands, and returns it with its
// ports in the order of its plan. After an error it returns the claim as far as it
// came. excluded are port leases that must not be used. b, unless it is nil, is made while the
// grant is recorded.
func (s *Service) complete(ctx context.Context, r ledger.Record[ledger.Claim], confirmed confirmation, excluded leaseSet, b *reservation) (ledger.Record[ledger.Claim], []ledger.Port, error) {
	// unusable also has the port leases that the present plan can never hold. They say nothing
	// of a plan that another call has written meanwhile: it may hold them by now.
	unusable := excluded
	for range maxSteps {
		var err error
		switch {
		case r.Value.State == ledger.ClaimReleasing:
			return r, nil, api.Errorf(api.Releasing, "the earlier claim of this pod is still being released").WithRetryAfter(retrySoon)
		case len(r.Value.Ports) == 0 || slices.ContainsFunc(r.Value.Ports, unusable.has):
			r, err = s.replan(ctx, r, confirmed, unusable)
		default:
			ports, lost, failed := s.hold(ctx, r)
			if failed != nil {
				return r, nil, failed
			}
			if len(lost) > 0 {
				unusable = unusable.with(lost...)
				continue
			}
			granted := r
			s.Both(ctx, func(ctx context.Context) { granted, err = s.grant(ctx, r, confirmed) }, func(ctx context.Context) { b.reserve(ctx, r, ports) })
			if r = granted; err == nil {
				return r, ports, nil
			}
		}
		if errors.Is(err, ledger.ErrConflict) {
			r, err = s.reread(ctx, r)
			unusable = excluded
		}
		if err != nil {
			return r, nil, err
		}
	}
	return r, nil, errContended
}

// reread reads a claim that another replica has written meanwhile.
func (s *Service) reread(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	now, err := s.Claims.Get(ctx, r.Name)
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return r, api.Errorf(api.Pending, "the claim was released meanwhile; ask again").WithRetryAfter(retrySoon)
	case err != nil:
		return r, unavailable(err)
	}
	return now, nil
}

// hold makes sure that a claim holds every port of its plan. lost are the port
// leases that it can never hold by this plan.
func (s *Service) hold(ctx context.Context, r ledger.Record[ledger.Claim]) (ports []ledger.Port, lost []string, err error) {
	claimPort := s.take
	if r.Value.State == ledger.Granted {
		claimPort = s.keep
	}
	for i, p := range r.Value.Ports {
		port, held, err := claimPort(ctx, r, i)
		if err != nil {
			return nil, nil, err
		}
		if held {
			ports = append(ports, port)
			continue
		}
		lost = append(lost, p.Fence.Lease)
		if r.Value.State == ledger.Waiting {
			break // what is taken now may not be in the next plan
		}
	}
	return ports, lost, nil
}

// grant records that a claim holds all its ports. It returns ledger.ErrConflict as it
// is.
func (s *Service) grant(ctx context.Context, r ledger.Record[ledger.Claim], confirmed confirmation) (ledger.Record[ledger.Claim], error) {
	before, next := r.Value.State, r.Value
	if before == ledger.Granted && !confirmed.unrecorded(r) {
		return r, nil
	}
	next.State, next.Duration = ledger.Granted, s.Duration
	r, err := s.write(ctx, r, next, confirmed)
	if err != nil || before == ledger.Granted {
		return r, err
	}
	s.Count("granted", r.Value.Pool)
	for _, p := range r.Value.Ports {
		s.Log.InfoContext(ctx, "port claimed", "holder", r.Value.Namespace+"/"+r.Value.Pod, "lease", p.Fence.Lease, "port", p.ListenerPort, "generation", p.Fence.Generation)
	}
	return r, nil
}

// replan gives a claim a new plan and releases what only the old plan had. It
// returns ledger.ErrConflict as it is.
func (s *Service) replan(ctx context.Context, r ledger.Record[ledger.Claim], confirmed confirmation, excluded leaseSet) (ledger.Record[ledger.Claim], error) {
	if r.Value.State == ledger.Granted {
		// A renewal grants nothing to a pod that is gone; PUT has checked its pod.
		pod, err := s.GetPod(ctx, r.Value.Namespace, r.Value.Pod)
		if err != nil {
			return r, unavailable(err)
		}
		if ledger.Gone(pod, r.Value.PodUID) {
			return r, podGone(r.Value.Namespace, r.Value.Pod, r.Value.PodUID)
		}
	}
	now, err := s.situation(r, excluded)
	if err != nil {
		return r, err
	}
	p := makePlan(now)
	if p.changes && r.Value.State == ledger.Granted {
		if err := s.checkMove(ctx, r, p.claim, excluded); err != nil {
			return r, err
		}
	}
	if p.changes {
		before := r.Value.Ports
		if r, err = s.write(ctx, r, p.claim, confirmed); err != nil {
			return r, err
		}
		for _, dropped := range before {
			if r.Value.Lists(dropped.Fence) {
				continue
			}
			wrote, err := s.changePort(ctx, dropped.Fence.Lease, beginRelease(r.Name, dropped.Fence, ledger.AgentAbsent))
			if err := ignoreMissing(err); err != nil {
				return r, err
			}
			if wrote {
				s.WakeJanitor()
			}
		}
	}
	if errors.Is(p.refusal, api.ErrExhausted) {
		s.Count("exhausted", r.Value.Pool)
	}
	return r, p.refusal
}

// checkMove reads the ports that a granted claim is to move to, before it gives up a port
// that works. A plan may rest on a stale cache, because a wrong one only costs another
// plan; here it would cost that port. If one is taken it returns ledger.ErrConflict: plan
// again, the cache knows it now.
func (s *Service) checkMove(ctx context.Context, r ledger.Record[ledger.Claim], next ledger.Claim, excluded leaseSet) error {
	givenUp := func(p ledger.PlannedPort) bool { return !excluded.has(p) && !next.Lists(p.Fence) }
	if !slices.ContainsFunc(r.Value.Ports, givenUp) {
		return nil
	}
	for _, p := range next.Ports {
		if r.Value.Lists(p.Fence) {
			continue
		}
		port, err := s.Ports.Get(ctx, p.Fence.Lease)
		switch {
		case errors.Is(err, ledger.ErrAbsent) && p.Fence.Generation == 1:
		case errors.Is(err, ledger.ErrAbsent), errors.Is(err, ledger.ErrUnreadable):
			return ledger.ErrConflict
		case err != nil:
			return unavailable(err)
		case !precedes(port.Value, p.Fence) || !available(port.Value, next):
			return ledger.ErrConflict
		}
	}
	return nil
}

// write writes the next value of a claim, and the confirmation with it. It returns
// ledger.ErrConflict as it is.
func (s *Service) write(ctx context.Context, r ledger.Record[ledger.Claim], next ledger.Claim, confirmed confirmation) (ledger.Record[ledger.Claim], error) {
	if confirmed.unrecorded(r) {
		next.ConfirmedIP = confirmed.ip
	}
	next.RenewedAt = s.Now()
	changed := r
	changed.Value = next
	written, err := s.Claims.Update(ctx, changed)
	switch {
	case errors.Is(err, ledger.ErrConflict):
		return r, ledger.ErrConflict
	case err != nil:
		return r, unavailable(err)
	}
	return written, nil
}
