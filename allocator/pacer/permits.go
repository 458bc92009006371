package pacer

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// permitOutcomes looks up in the ledger what became of the permits, by claim.
func (p *Pacer) permitOutcomes(ctx context.Context, permits []budget.Permit) (map[string]budget.PermitOutcome, error) {
	outcomes := make(map[string]budget.PermitOutcome, len(permits))
	for _, permit := range permits {
		outcome, err := p.permitOutcome(ctx, permit)
		if err != nil {
			return nil, err
		}
		outcomes[permit.Claim] = outcome
	}
	return outcomes, nil
}

// permitOutcome starts from the cache. A permit is abandoned only if fresh reads say
// so, because that refunds tokens. Nothing shows how many calls of one for listeners were
// made, so it is used at the latest when it is over.
func (p *Pacer) permitOutcome(ctx context.Context, permit budget.Permit) (budget.PermitOutcome, error) {
	r, seen := p.Claims.Cached(permit.Claim)
	if !seen || r.Value.State == ledger.ClaimReleasing || r.Value.Retries.Paused() {
		if permit.Connects() {
			return budget.PermitUsed, nil
		}
		var err error
		r, err = p.Claims.Get(ctx, permit.Claim)
		switch {
		case errors.Is(err, ledger.ErrAbsent):
			return budget.PermitAbandoned, nil
		case errors.Is(err, ledger.ErrUnreadable):
			return budget.PermitUnused, nil
		case err != nil:
			return budget.PermitUnused, err
		}
	}
	// The calls of an attempt that failed are not made any more.
	over := r.Value.State == ledger.ClaimReleasing || r.Value.Retries.Paused()
	recorded, err := p.recorded(ctx, permit, r.Value.Ports, over)
	switch {
	case err != nil:
		return budget.PermitUnused, err
	case over && recorded == 0:
		return budget.PermitAbandoned, nil
	case over, recorded == len(r.Value.Ports):
		return budget.PermitUsed, nil
	}
	return budget.PermitUnused, nil
}

// recorded counts the planned ports for which the ledger shows what the permit is for, a
// target group or a listener, of this very holding. A later holding has none of this permit's
// calls to show.
func (p *Pacer) recorded(ctx context.Context, permit budget.Permit, plan []ledger.PlannedPort, fresh bool) (recorded int, err error) {
	for _, planned := range plan {
		port, _ := p.Ports.Cached(planned.Fence.Lease)
		if fresh {
			port, err = p.Ports.Get(ctx, planned.Fence.Lease)
			if err != nil && !errors.Is(err, ledger.ErrAbsent) && !errors.Is(err, ledger.ErrUnreadable) {
				return 0, err
			}
		}
		if port.Value.Fence(planned.Fence.Lease) != planned.Fence {
			continue
		}
		if permit.Connects() && port.Value.State == ledger.Bound || !permit.Connects() && port.Value.TargetGroupARN != "" {
			recorded++
		}
	}
	return recorded, nil
}
