package claim

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// settle makes sure, once for each address, that no other claim records it. That
// it did so is written at once if the claim has a plan, and else with the plan.
func (s *Service) settle(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	return s.changeClaim(ctx, r, func(r *ledger.Record[ledger.Claim]) (bool, error) {
		if r.Value.ConfirmedIP == r.Value.PodIP || r.Value.State == ledger.ClaimReleasing {
			return false, nil
		}
		if err := s.settleIP(ctx, *r); err != nil {
			return false, err
		}
		r.Value.ConfirmedIP = r.Value.PodIP
		return len(r.Value.Ports) > 0, nil
	})
}

// keepSettled writes that a claim's address is settled if no plan came to do so:
// it waits in line now. If somebody else wrote meanwhile it is looked at again.
func (s *Service) keepSettled(ctx context.Context, before, settled ledger.Record[ledger.Claim]) error {
	if before.Version != settled.Version || before.Value.ConfirmedIP == settled.Value.ConfirmedIP {
		return nil
	}
	if _, err := s.Claims.Update(ctx, settled); err != nil && !errors.Is(err, ledger.ErrConflict) {
		return unavailable(err)
	}
	return nil
}

// settleIP makes sure that no other claim records this pod's address. The claim
// lease exists before this look, so of two claims with one address at least one
// sees the other.
func (s *Service) settleIP(ctx context.Context, r ledger.Record[ledger.Claim]) error {
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
			return api.Errorf(api.Pending, "pod %s/%s still has address %s in the ledger; ask again when it has moved or gone",
				o.Value.Namespace, o.Value.Pod, r.Value.PodIP).WithRetryAfter(retrySoon)
		}
		o.Value.State = ledger.ClaimReleasing
		o.Value.RenewedAt = s.Now()
		if _, err := s.Claims.Update(ctx, o); errors.Is(err, ledger.ErrConflict) {
			return errCrowded // somebody else ended it, or its holder is back
		} else if err != nil {
			return unavailable(err)
		}
		s.Log.InfoContext(ctx, "claim reclaimed because its address has a new pod", "holder", o.Value.Namespace+"/"+o.Value.Pod, "podIP", r.Value.PodIP)
		s.WakeJanitor()
	}
	return nil
}
