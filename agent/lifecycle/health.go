package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Every look is a call out of the account's ten a second, and a target usually
// needs tens of seconds to become healthy.
const (
	firstLook = 5 * time.Second
	mostLook  = time.Minute
)

// health is what the agent knows of its targets. It is Run's goroutine's alone.
type health struct {
	// looking is whether a target was not yet seen healthy; at is when to look next
	// and pause how long to wait after that.
	looking bool
	at      time.Time
	pause   time.Duration
	// told is what the pod's condition says, zero if that is not known, and want what
	// it should say.
	told, want Condition
}

// startLooking begins looking after targets anew.
func (a *Agent) startLooking(ctx context.Context, h *holding) {
	a.health.looking, a.health.pause = true, firstLook
	a.health.at = a.Clock.Now().Add(firstLook)
	a.judge(ctx, h)
}

func (a *Agent) unreachable(reason, message string) {
	a.status.setHealthy(false)
	a.health.want = Condition{Reason: reason, Message: message}
}

// looks is for how many calls to ask now: one for each target that was not seen
// healthy.
func (a *Agent) looks(h *holding) int {
	if !a.health.looking || a.Clock.Now().Before(a.health.at) || a.GameAnswers() != nil {
		return 0
	}
	return min(len(h.unhealthy()), api.MaxDescribes)
}

// look makes the calls that were paid for, and plans the next.
func (a *Agent) look(ctx context.Context, h *holding, answer api.RenewAnswer) {
	if answer.Describes == 0 {
		wait := time.Duration(min(max(answer.DescribeAfterSeconds, 0), longestRetryAfter.Seconds()) * float64(time.Second))
		a.health.at = a.Clock.Now().Add(max(wait, leastRenewal))
		return
	}
	unhealthy := h.unhealthy()
	for _, p := range unhealthy[:min(answer.Describes, len(unhealthy))] {
		targets, err := a.LoadBalancer.Targets(ctx, h.known(p).targetGroup)
		if err != nil {
			a.noteThrottled(err)
			a.complain(ctx, "health not read", err)
			break
		}
		a.sawTargets(h, p, targets)
	}
	a.judge(ctx, h)
	a.health.at = a.Clock.Now().Add(a.health.pause*9/10 + time.Duration(a.Jitter()*float64(a.health.pause)/5))
	a.health.pause = min(2*a.health.pause, mostLook)
}

// sawTargets notes the state of this pod's target.
func (a *Agent) sawTargets(h *holding, p api.ClaimedPort, targets []elb.Target) {
	state := "not registered"
	for _, t := range targets {
		if t.IP == a.Pod.IP && t.Port == p.TargetPort {
			state = string(t.State)
			if t.Reason != "" {
				state += ", " + t.Reason
			}
		}
	}
	h.learn(p.Fence, func(b *binding) { b.health = state })
}

// judge says that the pod is reachable once all its targets are healthy.
func (a *Agent) judge(ctx context.Context, h *holding) {
	if unhealthy := h.unhealthy(); len(unhealthy) > 0 {
		p := unhealthy[0]
		a.unreachable("TargetNotHealthy", fmt.Sprintf("the target of port %s is %s", p.Name, cmp.Or(h.bindings[p.Fence].health, "not looked at yet")))
		return
	}
	a.health.looking = false
	a.status.setHealthy(true)
	a.health.want = Condition{Reachable: true, Reason: "TargetHealthy", Message: "the load balancer finds the pod healthy at " + endpoints(h.claim)}
	a.Log.InfoContext(ctx, "targets healthy", "lease", leases(h.claim))
	a.Settled()
}

// tellCondition sets the pod's condition if it does not say what it should. What
// fails here is done with the next renewal.
func (a *Agent) tellCondition(ctx context.Context, timeout time.Duration) {
	if a.health.told == a.health.want {
		return
	}
	ctx, cancel := a.Clock.Timeout(ctx, timeout)
	defer cancel()
	if err := a.OwnPod.Reachable(ctx, a.health.want); err != nil {
		a.complain(ctx, "condition not set", err)
		a.health.told = Condition{} // it may have been
		return
	}
	a.health.told = a.health.want
}
