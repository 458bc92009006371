package lifecycle

import (
	"context"
	"fmt"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// vacate deregisters the address that the pod had before its sandbox was made
// anew, and claims again with the word that this is done. Only then can another
// pod that has the address by now be bound, and this one with its own.
func (a *Agent) vacate(ctx context.Context, h *holding) error {
	former := h.claim.PreviousIP
	for _, p := range h.claim.Ports {
		if err := a.vacatePort(ctx, h, p); err != nil {
			return fmt.Errorf("vacating %s on port %d: %w", former, p.ListenerPort, err)
		}
	}
	h.vacated = h.claim.AddressChanges
	a.Log.InfoContext(ctx, "former address deregistered", "podIP", former, "lease", leases(h.claim))
	return a.claim(ctx, h)
}

// vacatePort asks for the target group of a port of which the ledger knows none,
// because it may only have forgotten it: creating is idempotent. One that is not
// there, or not seen yet, has no target.
func (a *Agent) vacatePort(ctx context.Context, h *holding, p api.ClaimedPort) error {
	group := h.known(p).targetGroup
	if group == "" {
		var err error
		if group, err = a.createTargetGroup(ctx, h, p); err != nil {
			return err
		}
		h.learn(p.Fence, func(b *binding) { b.targetGroup = group })
	}
	own, err := a.own(ctx, elb.TagsOf(h.claim, p.Fence), []string{group})
	if err != nil || len(own) == 0 {
		return err
	}
	return a.deregisterTarget(ctx, group, elb.Target{IP: h.claim.PreviousIP, Port: p.TargetPort})
}
