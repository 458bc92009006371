package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/agent/pod"
)

const (
	// releaseReserve is the part of the grace period that is kept for the release.
	// Telling the allocator takes a moment, and the janitor then does the rest.
	releaseReserve = 5 * time.Second
	// defaultGrace is Kubernetes' default for a pod's grace period.
	defaultGrace = 30 * time.Second
	// terminationTimeout bounds the question whether the pod terminates.
	terminationTimeout = time.Second
)

// A kubelet tells the API server that it ends a pod at about the time when it calls the
// preStop hook. So the agent asks again for a while before it takes the call for a mistake.
const (
	askAgain  = 5 * time.Second
	askedLong = 30 * time.Second
)

// Terminations knows whether the pod terminates.
type Terminations interface {
	// Termination changes nothing.
	Termination(ctx context.Context) (pod.Termination, error)
}

// termination is what is known of the pod's termination.
type termination struct {
	env
	pod   Terminations
	begun bool
	// deadline is the end of the grace period, zero if that is not known, and grace what
	// Kubernetes says of it.
	deadline time.Time
	grace    time.Duration
	// doubted is since when preStop was called in a pod that does not terminate; zero
	// without such a call. ask is when to ask again.
	doubted, ask time.Time
}

// check asks whether the pod terminates. If there is no answer, it assumes so: this
// container is being stopped.
func (t *termination) check(ctx context.Context) bool {
	if err := t.refresh(ctx); err != nil {
		t.failures.Failed(ctx, "failed to read whether the pod terminates; assuming that it does", err)
		t.note(t.clock.Now(), pod.Termination{Begun: true, Grace: defaultGrace})
	}
	return t.begun
}

// refresh asks whether the pod terminates, and how much time it has. Somebody may have
// cut the grace period short.
func (t *termination) refresh(ctx context.Context) error {
	asked := t.clock.Now()
	// SIGTERM may come during the call and must not decide the answer.
	ctx, cancel := t.clock.Timeout(context.WithoutCancel(ctx), terminationTimeout)
	defer cancel()
	answer, err := t.pod.Termination(ctx)
	if err == nil {
		t.note(asked, answer)
	}
	return err
}

// note takes over an answer. The grace period counts from when it was first heard of. A
// shorter one counts from now, if that ends earlier.
func (t *termination) note(asked time.Time, answer pod.Termination) {
	switch ends := asked.Add(answer.Grace); {
	case !answer.Begun:
		return
	case !t.begun, answer.Grace < t.grace && ends.Before(t.deadline):
		t.deadline = ends
	}
	t.begun, t.grace = true, answer.Grace
	t.doubted = time.Time{}
}

// doubt begins to ask again whether the pod terminates.
func (t *termination) doubt() {
	if t.doubted.IsZero() {
		t.doubted = t.clock.Now()
	}
	t.ask = t.clock.Now().Add(askAgain)
}

// within is most, or what the grace period leaves of it after the release and what
// else is reserved. It is negative when time is over.
func (t *termination) within(most, reserved time.Duration) time.Duration {
	if t.deadline.IsZero() {
		return most
	}
	return min(most, t.deadline.Sub(t.clock.Now())-releaseReserve-reserved)
}

// errHurry is the cause of a wait that a second SIGTERM ended.
var errHurry = errors.New("a second signal told the agent to hurry")

// hurried is ctx until hurry is closed.
func hurried(ctx context.Context, hurry <-chan struct{}) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-hurry:
			cancel(errHurry)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
