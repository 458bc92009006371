package lifecycle

import (
	"context"

	"github.com/portlease/portlease/agent/health"
	"github.com/portlease/portlease/agent/holding"
)

// reachability keeps the readiness probe in step with what the tracker decides, and
// publishes it as the pod's condition.
type reachability struct {
	env
	status    *status
	onHolding func()
	tracker   health.Tracker
}

// watch follows the targets of a claim that was just bound.
func (r *reachability) watch(ctx context.Context, h *holding.Holding) {
	r.tracker.Watch(r.clock.Now(), h)
	r.judged(ctx, h)
}

func (r *reachability) described(ctx context.Context, h *holding.Holding) {
	r.tracker.Described(r.clock.Now(), h, r.jitter)
	r.judged(ctx, h)
}

func (r *reachability) setGameReady(ctx context.Context, h *holding.Holding, ready bool) (changed bool) {
	if changed = r.tracker.SetGameReady(r.clock.Now(), h, ready); changed {
		r.judged(ctx, h)
	}
	return changed
}

func (r *reachability) judged(ctx context.Context, h *holding.Holding) {
	healthy := r.tracker.Condition().Reachable
	r.status.setHealthy(healthy)
	if healthy {
		r.log.InfoContext(ctx, "targets healthy", "lease", h.Leases())
		r.onHolding()
	}
}

func (r *reachability) repairing() {
	r.tracker.Repairing()
	r.status.setHealthy(false)
}

func (r *reachability) withdrawn() {
	r.tracker.Withdrawn()
	r.status.setHealthy(false)
}

// publish sets the pod's condition if it is not up to date.
func (r *reachability) publish(ctx context.Context) {
	r.reporter.SetCondition(ctx, r.tracker.Condition())
}
