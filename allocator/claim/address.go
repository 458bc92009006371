package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// confirmation says that no other live claim records the pod IP of a claim. It is
// recorded with the claim's next plan, which saves a write.
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
// It records that at once in a claim that has a plan; otherwise the plan records it.
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
		return next, len(next.Ports) > 0, nil
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

// checkAddress makes sure that no other live claim records this pod's IP. The claim
// lease exists before this check, so of two claims with one IP at least one sees the
// other.
func (s *Service) checkAddress(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	others, err := s.Claims.OfPodIP(ctx, r.Value.PodIP, r.Version)
	if err != nil {
		return unavailable(err)
	}
	others = slices.DeleteFunc(others, func(o ledger.Record[ledger.Claim]) bool {
		return o.Name == r.Name || o.Value.State == ledger.ClaimReleasing
	})
	for _, o := range others {
		pod, err := s.GetPod(ctx, o.Value.Namespace, o.Value.Pod)
		if err != nil {
			return unavailable(err)
		}
		if !ledger.Gone(pod, o.Value.PodUID) {
			return api.Errorf(api.Pending, "the ledger still records pod IP %s for pod %s/%s; ask again when that pod has moved or is gone",
				r.Value.PodIP, o.Value.Namespace, o.Value.Pod).WithRetryAfter(retrySoon)
		}
		o.Value.State = ledger.ClaimReleasing
		o.Value.RenewedAt = s.Now()
		if _, err := s.Claims.Update(ctx, o); errors.Is(err, ledger.ErrConflict) {
			return errContended // another replica has reclaimed it, or its holder is back
		} else if err != nil {
			return unavailable(err)
		}
		s.Log.InfoContext(ctx, "claim reclaimed because its pod is gone and its IP has a new pod", "holder", o.Value.Namespace+"/"+o.Value.Pod, "podIP", r.Value.PodIP)
		s.WakeJanitor()
	}
	return nil
}
