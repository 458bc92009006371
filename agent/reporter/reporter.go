// Package reporter tells the world about the pod: the game server by files and the
// local API, watchers of pods by annotations and a condition, people by events.
//
// The game server waits for its files, so failing to write them is an error.
// Everything on the pod is best effort and bounded in time: a failure is logged, and
// CatchUp makes up for it.
package reporter

import (
	"context"
	"log/slog"
	"sync"
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
	podTimeout      = 3 * time.Second
	withdrawTimeout = time.Second
)

const (
	// firstRetry and mostRetry bound the pause after a write on the pod failed.
	firstRetry = 2 * time.Second
	mostRetry  = time.Minute
	// rewording is how often a condition may say the same thing in other words.
	rewording = 2 * time.Minute
)

// The reasons of events and conditions other than those of failures.
const (
	ReasonAnnounced        = "Announced"
	ReasonClaiming         = "Claiming"
	ReasonBinding          = "Binding"
	ReasonWaitingForBudget = "WaitingForBudget"
	ReasonClaimLost        = "ClaimLost"
	ReasonGameStopped      = "GameStopped"
	ReasonGameBack         = "GameBack"
	ReasonTargetNotInUse   = "TargetNotInUse"
	ReasonLoadBalancerGone = "LoadBalancerGone"
)

// Reporter is safe for concurrent use.
type Reporter struct {
	Config

	writing sync.Mutex // held during a write on the pod; guards all below
	// claim is what the pod's annotations should say; zero without an endpoint.
	claim api.Claim
	// annotated is whether they do.
	annotated bool
	// filesLeft is whether the endpoint files are still to be removed.
	filesLeft bool
	// condition is the pod's condition, zero if that is not known, and since is when it was
	// set.
	condition pod.Condition
	since     time.Time
	// retry is when to write again after a failure, and pause how long that is.
	retry time.Time
	pause time.Duration
}

// New makes a reporter. It reports nothing yet.
func New(c Config) *Reporter { return &Reporter{Config: c, annotated: true} }

// Announce tells the game server its endpoint. Annotate then tells watchers of the pod.
func (r *Reporter) Announce(ctx context.Context, c api.Claim) error {
	if err := r.Files.Announce(ctx, c); err != nil {
		return err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	r.claim, r.annotated, r.filesLeft = c, false, false
	return nil
}

// Annotate annotates the pod with the endpoint, unless it is already. CatchUp repeats what
// fails.
func (r *Reporter) Annotate(ctx context.Context) {
	r.writing.Lock()
	defer r.writing.Unlock()
	if !r.annotated {
		r.annotate(ctx, podTimeout)
	}
}

// CatchUp writes on the pod what has changed or could not be written. It is to be called
// every few seconds, and calls the API server only when there is something to write.
func (r *Reporter) CatchUp(ctx context.Context, condition func() pod.Condition) {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.Clock.Now().Before(r.retry) {
		return
	}
	r.removeFiles(ctx)
	if !r.annotated {
		r.annotate(ctx, podTimeout)
	}
	if c := condition(); r.differs(c) {
		r.setCondition(ctx, c, podTimeout)
	}
}

// differs reports whether to set a condition. One that only says the same in other words
// can wait.
func (r *Reporter) differs(c pod.Condition) bool {
	same := r.condition.Reason == c.Reason && r.condition.Reachable == c.Reachable
	return r.condition != c && (!same || r.Clock.Now().Sub(r.since) >= rewording)
}

// Withdrawn attempts what has failed of the last Withdraw, and reports whether all of it
// is done.
func (r *Reporter) Withdrawn(ctx context.Context) bool {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.removeFiles(ctx)
	if !r.annotated {
		r.annotate(ctx, withdrawTimeout)
	}
	return r.annotated && !r.filesLeft
}

// removeFiles is called with writing held.
func (r *Reporter) removeFiles(ctx context.Context) {
	if !r.filesLeft {
		return
	}
	err := r.Files.Withdraw(ctx)
	if err != nil {
		r.Failures.Failed(ctx, "failed to remove the endpoint files; retrying", err)
	}
	r.filesLeft = err != nil
}

// annotate is called with writing held.
func (r *Reporter) annotate(ctx context.Context, timeout time.Duration) {
	ctx, cancel := r.Clock.Timeout(ctx, timeout)
	defer cancel()
	doing, write := "failed to annotate the pod; retrying", func() error { return r.Pod.Announce(ctx, r.claim) }
	if r.claim.UID == "" {
		doing, write = "failed to remove the pod's annotations; retrying", func() error { return r.Pod.Withdraw(ctx) }
	}
	r.annotated = r.written(ctx, doing, write())
}

// setCondition is called with writing held.
func (r *Reporter) setCondition(ctx context.Context, c pod.Condition, timeout time.Duration) {
	ctx, cancel := r.Clock.Timeout(ctx, timeout)
	defer cancel()
	r.since = r.Clock.Now()
	if !r.written(ctx, "failed to set the pod's condition; retrying", r.Pod.SetReachable(ctx, c)) {
		r.condition = pod.Condition{} // it may have been set
		return
	}
	r.condition = c
}

// written notes how a write on the pod went. It is called with writing held.
func (r *Reporter) written(ctx context.Context, message string, err error) bool {
	if err == nil {
		r.retry, r.pause = time.Time{}, 0
		return true
	}
	r.Failures.Failed(ctx, message, err)
	r.pause = min(max(2*r.pause, firstRetry), mostRetry)
	r.retry = r.Clock.Now().Add(r.pause)
	return false
}

// Withdraw removes what was announced, and sets the condition unless that says
// already that the pod is unreachable. It works also after ctx is over. CatchUp repeats
// what fails of it.
func (r *Reporter) Withdraw(ctx context.Context, c pod.Condition) {
	ctx = context.WithoutCancel(ctx)
	r.writing.Lock()
	defer r.writing.Unlock()
	r.filesLeft = true
	r.removeFiles(ctx)
	r.claim = api.Claim{}
	r.annotate(ctx, withdrawTimeout)
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
