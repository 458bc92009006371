// Package health decides whether players reach the pod, and when to ask AWS for the
// health of its targets.
//
// It only decides: it takes the time and what is known, and calls nothing. Every
// describe call costs one of the account's ten a second, and a target usually needs
// tens of seconds to become healthy, so the tracker asks ever more rarely and stops
// once all targets are healthy.
package health

import (
	"cmp"
	"fmt"
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

const (
	firstPause = 5 * time.Second
	mostPause  = time.Minute
)

// The reasons of the pod's condition.
const (
	ReasonTargetHealthy    = "TargetHealthy"
	ReasonTargetNotHealthy = "TargetNotHealthy"
	ReasonGameNotReady     = "GameNotReady"
	ReasonRepairing        = "Repairing"
	ReasonWithdrawn        = "Withdrawn"
)

// Tracker follows the targets of one pod. The zero value follows nothing yet. It is
// for one goroutine.
type Tracker struct {
	// watching is whether a target was not seen healthy yet. next is when to describe
	// it, and pause how long to wait after that.
	watching     bool
	next         time.Time
	pause        time.Duration
	gameNotReady bool
	condition    pod.Condition
}

// Condition is what the pod's condition should be; zero before anything is known.
func (t *Tracker) Condition() pod.Condition { return t.condition }

// Watch starts over following the targets.
func (t *Tracker) Watch(now time.Time, h *holding.Holding) {
	t.watching, t.pause = true, firstPause
	t.next = now.Add(firstPause)
	t.judge(h)
}

// Stop ends following the targets: there is no claim.
func (t *Tracker) Stop() { t.watching = false }

// NextDescribe is when to describe targets; false if there is nothing to describe.
func (t *Tracker) NextDescribe() (time.Time, bool) {
	return t.next, t.watching && !t.gameNotReady
}

// Describes is how many describe calls to ask for now: one for each target that was
// not seen healthy.
func (t *Tracker) Describes(now time.Time, h *holding.Holding) int {
	if !t.watching || now.Before(t.next) {
		return 0
	}
	return min(len(h.NotHealthy()), api.MaxDescribes)
}

// Postpone describes nothing before a time.
func (t *Tracker) Postpone(until time.Time) { t.next = until }

// Described judges the targets after they were described, and plans the next time.
func (t *Tracker) Described(now time.Time, h *holding.Holding, jitter func() float64) {
	t.judge(h)
	t.next = now.Add(clock.Around(t.pause, jitter))
	t.pause = min(2*t.pause, mostPause)
}

// judge makes the pod reachable once all its targets are healthy.
func (t *Tracker) judge(h *holding.Holding) {
	if ports := h.NotHealthy(); len(ports) > 0 {
		state := cmp.Or(h.Binding(ports[0]).TargetState, "not described yet")
		t.unreachable(ReasonTargetNotHealthy, fmt.Sprintf("the target of port %s is %s", ports[0].Name, state))
		return
	}
	t.watching = false
	t.condition = pod.Condition{
		Reachable: true, Reason: ReasonTargetHealthy, Message: "the load balancer reports the pod healthy at " + h.Endpoints(),
	}
}

// SetGameReady applies the game's readiness and reports whether it changed. A game
// that becomes ready or not ready has its targets described again.
func (t *Tracker) SetGameReady(now time.Time, h *holding.Holding, ready bool) (changed bool) {
	if ready == !t.gameNotReady {
		return false
	}
	t.gameNotReady = !ready
	h.ForgetTargetStates()
	t.Watch(now, h)
	if !ready {
		t.unreachable(ReasonGameNotReady, "the game reports that it takes no players now")
	}
	return true
}

// Repairing makes the pod unreachable because its binding is damaged.
func (t *Tracker) Repairing() {
	t.unreachable(ReasonRepairing, "the binding is damaged; the agent is repairing it")
}

// Withdrawn makes the pod unreachable because no new players should come.
func (t *Tracker) Withdrawn() {
	t.unreachable(ReasonWithdrawn, "the endpoint was withdrawn: no new players should come")
}

func (t *Tracker) unreachable(reason, message string) {
	t.condition = pod.Condition{Reason: reason, Message: message}
}
