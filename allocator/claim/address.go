package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// confirmation says that no other live claim records the pod IP of a claim, and that no
// port of another claim forwards to it. It is recorded with the claim's next write, which
// saves one.
type confirmation struct {
	claimUID, ip   string
	addressChanges int
}

func confirmationOf(r ledger.Record[ledger.Claim]) confirmation {
	return confirmation{claimUID: r.UID, ip: r.Value.PodIP, addressChanges: r.Value.AddressChanges}
}

// covers reports whether the confirmation holds for a version of the claim. A pod
// that has moved away and back may have been taken for gone in between.
func (c confirmation) covers(r ledger.Record[ledger.Claim]) bool {
	return c.ip != "" && r.UID == c.claimUID && r.Value.PodIP == c.ip && r.Value.AddressChanges == c.addressChanges
}

// unrecorded reports whether the claim is covered and does not say so yet.
func (c confirmation) unrecorded(r ledger.Record[ledger.Claim]) bool {
	return c.covers(r) && r.Value.ConfirmedIP != c.ip
}

// confirmAddress makes sure, once for each pod IP, that no other claim records it.
// It records that at once in a granted claim; otherwise the next write records it.
func (s *Service) confirmAddress(ctx context.Context, r ledger.Record[ledger.Claim]) (_ ledger.Record[ledger.Claim], confirmed confirmation, err error) {
	r, _, err = ledger.ChangeFrom(ctx, s.Claims, r, func(r ledger.Record[ledger.Claim]) (ledger.Claim, bool, error) {
		if r.Value.ConfirmedIP == r.Value.PodIP || r.Value.State == ledger.ClaimReleasing {
			return r.Value, false, nil
		}
		if err := s.checkAddress(ctx, r); err != nil {
			return r.Value, false, err
		}
		confirmed = confirmationOf(r)
		next := r.Value
		next.ConfirmedIP, next.RenewedAt = next.PodIP, s.Now()
		return next, next.State == ledger.Granted, nil
	})
	return r, confirmed, problem(err)
}

// recordConfirmation records a confirmation that no plan has recorded: the claim
// waits for ports.
func (s *Service) recordConfirmation(ctx context.Context, r ledger.Record[ledger.Claim], confirmed confirmation) error {
	_, _, err := ledger.ChangeFrom(ctx, s.Claims, r, func(r ledger.Record[ledger.Claim]) (ledger.Claim, bool, error) {
		next := r.Value
		next.ConfirmedIP = confirmed.ip
		return next, confirmed.unrecorded(r), nil
	})
	if errors.Is(err, ledger.ErrAbsent) {
		return nil // the claim was released meanwhile
	}
	return problem(err)
}

// checkAddress makes sure that no other live claim records this pod's IP, and that no port
// that is being released still forwards to it. The claim lease exists before this check,
// so of two claims with one IP at least one sees the other.
func (s *Service) checkAddress(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	others, err := s.Claims.OfPodIP(ctx, r.Value.PodIP, r.Version)
	if err != nil {
		return unavailable(err)
	}
	for _, o := range others {
		if o.Name == r.Name {
			continue
		}
		if o.Value.State != ledger.ClaimReleasing {
			if err := s.reclaimAddress(ctx, r.Value.PodIP, o); err != nil {
				return err
			}
		}
		if err := s.checkDeregistered(ctx, r.Value.PodIP, o); err != nil {
			return err
		}
	}
	return nil
}

// reclaimAddress begins to release a claim that records the pod IP of another pod, if its
// own pod is gone.
func (s *Service) reclaimAddress(ctx context.Context, ip string, o ledger.Record[ledger.Claim]) error {
	pod, err := s.GetPod(ctx, o.Value.Namespace, o.Value.Pod)
	if err != nil {
		return unavailable(err)
	}
	if !ledger.Gone(pod, o.Value.PodUID) {
		return api.Errorf(api.Pending, "the ledger still records pod IP %s for pod %s/%s; ask again when that pod has moved or is gone",
			ip, o.Value.Namespace, o.Value.Pod).WithRetryAfter(retrySoon)
	}
	o.Value.State = ledger.ClaimReleasing
	o.Value.RenewedAt = s.Now()
	if _, err := s.Claims.Update(ctx, o); errors.Is(err, ledger.ErrConflict) {
		return errContended // another replica has reclaimed it, or its holder is back
	} else if err != nil {
		return unavailable(err)
	}
	s.Log.InfoContext(ctx, "claim reclaimed because its pod is gone and its IP has a new pod", "holder", o.Value.Namespace+"/"+o.Value.Pod, "podIP", ip)
	s.WakeJanitor()
	return nil
}

// checkDeregistered makes sure that no port of a releasing claim forwards to a pod IP. A
// port that the claim still holds may do so until its targets are deregistered. If the
// pod had several IPs, or if a registration may be under way, the target group must be
// gone.
//
// The ports of the plan are read, because they may be newer than the cache. Ports that the
// claim gave up before are older. Nothing is known of a port whose lease is lost until the
// janitor has restored and released it; nor if another claim has taken it anew, until the
// claim lease is gone.
func (s *Service) checkDeregistered(ctx context.Context, ip string, o ledger.Record[ledger.Claim]) error {
	free := func(p ledger.Port) bool { return p.AddressFree() && o.Value.AddressChanges == 0 }
	var forwards []int
	for _, planned := range o.Value.Ports {
		p, err := s.Ports.Get(ctx, planned.Fence.Lease)
		switch {
		case errors.Is(err, ledger.ErrAbsent), errors.Is(err, ledger.ErrUnreadable), err == nil && p.Value.Epoch != planned.Fence.Epoch,
			err == nil && p.Value.Holds(o.Name, planned.Fence) && !free(p.Value):
			forwards = append(forwards, planned.ListenerPort)
		case err != nil:
			return unavailable(err)
		}
	}
	for _, p := range s.Ports.CachedBy(ledger.PortsHeldBy(o.Name)) {
		if !o.Value.Lists(p.Value.Fence(p.Name)) && !free(p.Value) {
			forwards = append(forwards, p.Value.ListenerPort)
		}
	}
	if len(forwards) == 0 {
		return nil
	}
	s.WakeJanitor()
	return api.Errorf(api.Pending, "the listener ports %v of an earlier pod may still forward to pod IP %s; ask again when they are deregistered", forwards, ip).WithRetryAfter(retrySoon)
}
