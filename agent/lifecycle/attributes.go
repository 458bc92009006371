package lifecycle

import (
	"context"

	"github.com/portlease/portlease/shared/api"
)

// setAttributes sets what the target group has different from AWS's defaults, once.
// A listener is made only after it, so one that is there needs no look.
func (a *Agent) setAttributes(ctx context.Context, h *holding, p api.ClaimedPort, targetGroup string) error {
	if len(p.Attributes) == 0 || h.bindings[p.Fence].attributed {
		return nil
	}
	if err := a.LoadBalancer.SetAttributes(ctx, targetGroup, p.Attributes); err != nil {
		return err
	}
	h.learn(p.Fence, func(b *binding) { b.attributed = true })
	return nil
}
