package lifecycle

import (
	"context"
	"time"

	"github.com/portlease/portlease/agent/health"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
)

// What reachability knows of the pod's targets, which the phases describe.

// bound notes a claim that was just bound, and follows its targets.
func (r *reachability) bound(ctx context.Context, h *holding.Holding) {
	r.mu.Lock()
	r.facts.Endpoints, r.facts.Targets, r.stale = h.Endpoints(), health.TargetsOf(h), false
	r.checks.Expect(checkInterval(h))
	r.facts.ChecksStopped = false
	r.follow(h)
	r.apply()
	r.mu.Unlock()
	r.ifHealthy(ctx, h)
}

// ifHealthy notes that there is nothing left to follow.
func (r *reachability) ifHealthy(ctx context.Context, h *holding.Holding) {
	if len(h.NotHealthy()) == 0 {
		r.log.InfoContext(ctx, "targets healthy", "lease", h.Leases())
		r.milestones.heal()
		r.onHolding()
	}
}

// follow plans describe calls until all targets are healthy. It is called with mu held.
func (r *reachability) follow(h *holding.Holding) {
	if len(h.NotHealthy()) > 0 {
		r.polls.Start(r.clock.Now())
	} else {
		r.polls.Stop()
	}
}

// checkInterval is how often the load balancer checks the agent; 0 if it checks the game
// itself.
func checkInterval(h *holding.Holding) time.Duration {
	for _, p := range h.Claim.Ports {
		if p.HealthCheck.Path != "" {
			return time.Duration(p.HealthCheck.IntervalSeconds) * time.Second
		}
	}
	return 0
}

// described notes what the targets were described as.
func (r *reachability) described(ctx context.Context, h *holding.Holding) {
	r.mu.Lock()
	if r.stale { // what was described is of the game before
		r.mu.Unlock()
		return
	}
	r.facts.Targets = health.TargetsOf(h)
	if len(h.NotHealthy()) == 0 {
		r.polls.Stop()
	} else {
		r.polls.Described(r.clock.Now(), r.jitter)
	}
	r.apply()
	c := r.facts.Condition()
	r.unused++
	if c.Reason != health.ReasonTargetNotInUse {
		r.unused = 0
	}
	persists := r.unused == unusedAttempts
	r.mu.Unlock()
	if persists {
		r.reporter.Event(ctx, pod.Warning, reporter.ReasonTargetNotInUse, c.Message)
	}
	r.ifHealthy(ctx, h)
}

// unusedAttempts is how often in a row a target is described as not in use before that is
// an event. AWS may say so for a moment of each new target.
const unusedAttempts = 2

// consider has the targets described again, as far as the AWS budget allows, if the
// allocator has news of AWS that contradict what is known. Its opinion may be minutes old,
// so it decides nothing.
func (r *reachability) consider(h *holding.Holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := false
	opinions := make(map[string]string, len(h.Claim.Ports))
	for _, p := range h.Claim.Ports {
		opinions[p.Fence.Lease] = p.TargetHealth
		bad := p.TargetHealth != "" && p.TargetHealth != health.Healthy
		news = news || bad && r.opinions[p.Fence.Lease] != p.TargetHealth
	}
	r.opinions = opinions
	if news && r.facts.Condition().Reachable {
		h.ForgetTargetStates()
		r.follow(h)
	}
}

// setGameReady applies the game's own report and says whether it is news. A game that
// becomes ready or not ready has its targets described again.
func (r *reachability) setGameReady(h *holding.Holding, ready bool) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if changed = r.facts.GameNotReady == ready; changed {
		r.facts.GameNotReady = !ready
		r.describeAgain(h)
	}
	return changed
}

// catchUp has the targets described again if the game has stopped or started since.
func (r *reachability) catchUp(h *holding.Holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stale {
		r.describeAgain(h)
	}
}

// describeAgain is called with mu held.
func (r *reachability) describeAgain(h *holding.Holding) {
	h.ForgetTargetStates()
	r.facts.Targets, r.stale = health.TargetsOf(h), false
	r.follow(h)
	r.apply()
}

// stop ends following the targets: there is no claim.
func (r *reachability) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.polls.Stop()
	r.checks.Expect(0)
	r.facts.ChecksStopped = false
}

// nextDescribe is when to describe targets; false if there is nothing to describe.
func (r *reachability) nextDescribe() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, more := r.polls.Next()
	return at, more && r.facts.GameWell()
}

// describes is how many describe calls to ask for now. A game that does not run is not
// healthy, whatever AWS says.
func (r *reachability) describes(h *holding.Holding) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.facts.GameWell() {
		return 0
	}
	return r.polls.Describes(r.clock.Now(), len(h.NotHealthy()))
}

// refused notes that the AWS budget granted no describe calls, and none for a while.
func (r *reachability) refused(wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.polls.Refused(r.clock.Now(), wait, r.jitter)
}

func (r *reachability) postpone(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.polls.Postpone(until)
}
