// Package health decides whether players reach the pod, and when to ask AWS for the
// health of its targets.
//
// It only decides: it takes the time and what is known, and calls nothing. Facts is what
// is known, and Facts.Condition what follows. Game judges whether the game runs, and
// Checks whether the load balancer still sends health checks; both cost no call to AWS.
// Polls plans the describe calls.
package health

import (
	"fmt"
	"strings"

	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
)

// The reasons of the pod's condition while its ports are bound. Before that, the reasons
// are those of the obstacles.
const (
	ReasonTargetHealthy       = "TargetHealthy"
	ReasonTargetNotHealthy    = "TargetNotHealthy"
	ReasonTargetNotInUse      = "TargetNotInUse"
	ReasonZonalShift          = "ZonalShift"
	ReasonGameNotReady        = "GameNotReady"
	ReasonGameStarting        = "GameStarting"
	ReasonGameStopped         = "GameStopped"
	ReasonHealthChecksStopped = "HealthChecksStopped"
	ReasonRepairing           = "Repairing"
	ReasonWithdrawn           = "Withdrawn"
)

// Facts is all that is known of the pod now. The zero value is a pod whose ports are
// bound and of which nothing else is known.
type Facts struct {
	// Obstacle is why the pod has no endpoint that works; zero if its ports are bound and
	// announced.
	Obstacle Obstacle
	// GameNotReady is whether the game reports that it takes no players.
	GameNotReady bool
	// Game is whether the game runs, and Problem why it does not.
	Game    GameState
	Problem string
	// Targets are the pod's targets as last described.
	Targets []Target
	// ChecksStopped is whether the load balancer has stopped its health checks.
	ChecksStopped bool
	// Endpoints is what players dial, for people.
	Endpoints string
}

// Obstacle is a reason and a message of the pod's condition.
type Obstacle struct{ Reason, Message string }

// Target is the target of one port.
type Target struct {
	Port string
	// State is empty until the target was described.
	State   string
	Healthy bool
}

// problem says what AWS has against a target that is not healthy.
func (t Target) problem() (reason, message string) {
	switch {
	case t.State == "":
		return ReasonTargetNotHealthy, fmt.Sprintf("the target of port %s is not described yet", t.Port)
	case strings.Contains(t.State, notInUse):
		return ReasonTargetNotInUse, fmt.Sprintf(
			"the load balancer does not use the target of port %s (%s); see whether its subnets cover the zone of the pod, and its listener forwards to the pod", t.Port, t.State)
	case strings.HasPrefix(t.State, override):
		return ReasonZonalShift, fmt.Sprintf("a zonal shift keeps players from the target of port %s (%s); it ends when the shift is canceled or expires", t.Port, t.State)
	}
	return ReasonTargetNotHealthy, fmt.Sprintf("the target of port %s is %s", t.Port, t.State)
}

// Healthy is what the allocator says of a target that AWS reports healthy.
const Healthy = "healthy"

// What AWS calls a target that no load balancer uses, and one whose zone somebody has shifted
// traffic away from
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html,
// API_AdministrativeOverride.html).
const (
	notInUse = "Target.NotInUse"
	override = "AdministrativeOverride"
)

// TargetsOf are the targets of a claim, as the binder has noted them.
func TargetsOf(h *holding.Holding) []Target {
	var targets []Target
	for _, p := range h.Claim.Ports {
		b := h.Binding(p)
		targets = append(targets, Target{Port: p.Name, State: b.TargetState, Healthy: b.Healthy})
	}
	return targets
}

// ForgetTargets makes every target count as not described yet.
func (f *Facts) ForgetTargets() {
	targets := make([]Target, len(f.Targets))
	for i, t := range f.Targets {
		targets[i] = Target{Port: t.Port}
	}
	f.Targets = targets
}

// Condition is what the pod's condition should be.
func (f Facts) Condition() pod.Condition {
	unreachable := func(reason, message string) pod.Condition { return pod.Condition{Reason: reason, Message: message} }
	switch {
	case f.Obstacle != Obstacle{}:
		return unreachable(f.Obstacle.Reason, f.Obstacle.Message)
	case f.GameNotReady:
		return unreachable(ReasonGameNotReady, "the game reports that it takes no players now")
	case f.Game == GameStarting:
		return unreachable(ReasonGameStarting, "the game has not started yet: "+f.Problem)
	case f.Game == GameStopped:
		return unreachable(ReasonGameStopped, "the game has stopped: "+f.Problem)
	}
	for _, t := range f.Targets {
		if !t.Healthy {
			return unreachable(t.problem())
		}
	}
	if f.ChecksStopped {
		return unreachable(ReasonHealthChecksStopped,
			"the load balancer has stopped its health checks; see whether the load balancer, its security groups or its zones were changed")
	}
	return pod.Condition{Reachable: true, Reason: ReasonTargetHealthy, Message: "the load balancer reports the pod healthy at " + f.Endpoints}
}

// GameWell reports whether nothing is known against the game. While something is, no
// target can be healthy.
func (f Facts) GameWell() bool {
	return !f.GameNotReady && f.Game != GameStarting && f.Game != GameStopped
}
