// Package reporter tells the world about the pod: the game server by files and the
// local API, watchers of pods by annotations and a condition, people by events.
//
// The game server waits for its files, so failing to write them is an error.
// Everything on the pod is best effort and bounded in time: a failure is logged and
// made up for with the next renewal.
package reporter

import (
	"context"
	"log/slog"
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

// Config is what a Reporter needs; all of it is required.
type Config struct {
	// Files tell the game server; it does not start before they are written.
	Files    Announcer
	Pod      Pod
	Events   Events
	Clock    clock.Clock
	Failures failure.Log
	Log      *slog.Logger
}

// Pod writes on the agent's own pod.
type Pod interface {
	Announcer
	// SetReachable sets the pod's condition, which may be a readiness gate.
	SetReachable(ctx context.Context, c pod.Condition) error
}

// Events record what happens to the pod. Losing one does no harm.
type Events interface {
	Record(ctx context.Context, typ pod.EventType, reason, message string) error
}

// Nothing waits long for the API server, and a withdrawal least of all: the pod may
// have only seconds left for the release.
const (
	podTimeout      = 5 * time.Second
	withdrawTimeout = time.Second
)

// The reasons of events other than those of failures.
const (
	ReasonAnnounced     = "Announced"
	ReasonWaitingForAWS = "WaitingForAWS"
	ReasonClaimLost     = "ClaimLost"
)

// Reporter is for one goroutine.
type Reporter struct {
	Config

	// annotated is whether the pod's annotations say what was announced last.
	annotated bool
	// condition is the pod's condition, zero if that is not known.
	condition pod.Condition
}

// New makes a reporter. It reports nothing yet.
func New(c Config) *Reporter { return &Reporter{Config: c} }

// Announce tells the game server its endpoint. Annotate must follow.
func (r *Reporter) Announce(ctx context.Context, c api.Claim) error {
	if err := r.Files.Announce(ctx, c); err != nil {
		return err
	}
	r.annotated = false
	return nil
}

// Annotate writes the pod's annotations unless they are up to date.
func (r *Reporter) Annotate(ctx context.Context, c api.Claim) {
	if r.annotated {
		return
	}
	ctx, cancel := r.Clock.Timeout(ctx, podTimeout)
	defer cancel()
	if err := r.Pod.Announce(ctx, c); err != nil {
		r.Failures.Failed(ctx, "failed to annotate the pod; retrying with the next renewal", err)
		return
	}
	r.annotated = true
}

// SetCondition sets the pod's condition unless it is up to date.
func (r *Reporter) SetCondition(ctx context.Context, c pod.Condition) {
	r.setCondition(ctx, c, podTimeout)
}

func (r *Reporter) setCondition(ctx context.Context, c pod.Condition, timeout time.Duration) {
	if r.condition == c {
		return
	}
	ctx, cancel := r.Clock.Timeout(ctx, timeout)
	defer cancel()
	if err := r.Pod.SetReachable(ctx, c); err != nil {
		r.Failures.Failed(ctx, "failed to set the pod's condition; retrying with the next renewal", err)
		r.condition = pod.Condition{} // it may have been set
		return
	}
	r.condition = c
}

// Withdraw removes what was announced, and sets the condition unless that says
// already that the pod is unreachable. It works also after ctx is over.
func (r *Reporter) Withdraw(ctx context.Context, c pod.Condition) {
	ctx, cancel := r.Clock.Timeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	if err := r.Files.Withdraw(ctx); err != nil {
		r.Failures.Failed(ctx, "failed to remove the endpoint files", err)
	}
	if err := r.Pod.Withdraw(ctx); err != nil {
		r.Failures.Failed(ctx, "failed to remove the pod's annotations", err)
	}
	// An earlier agent of this pod may have set the condition.
	if unknown := r.condition == (pod.Condition{}); unknown || r.condition.Reachable {
		r.setCondition(ctx, c, withdrawTimeout)
	}
	r.Log.InfoContext(ctx, "endpoint withdrawn")
}

// Event records an event.
func (r *Reporter) Event(ctx context.Context, typ pod.EventType, reason, message string) {
	ctx, cancel := r.Clock.Timeout(ctx, podTimeout)
	defer cancel()
	if err := r.Events.Record(ctx, typ, reason, message); err != nil {
		r.Failures.Failed(ctx, "failed to record an event", err)
	}
}
