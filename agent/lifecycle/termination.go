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
	// terminationTimeout bounds the question whether the pod is being deleted.
	terminationTimeout = time.Second
)

// Terminations knows whether the pod is being deleted.
type Terminations interface {
	// Termination changes nothing.
	Termination(ctx context.Context) (pod.Termination, error)
}

// termination is what is known of the pod's termination.
type termination struct {
	env
	pod   Terminations
	begun bool
	// deadline is the end of the grace period, zero if that is not known.
	deadline time.Time
}

// check asks whether the pod is being deleted. If there is no answer, it assumes so:
// this container is being stopped.
func (t *termination) check(ctx context.Context) bool {
	asked := t.clock.Now()
	// SIGTERM may come during the call and must not decide the answer.
	ctx, cancel := t.clock.Timeout(context.WithoutCancel(ctx), terminationTimeout)
	defer cancel()
	answer, err := t.pod.Termination(ctx)
	if err != nil {
		t.failures.Failed(ctx, "failed to read whether the pod is being deleted; assuming that it is", err)
		answer = pod.Termination{Deleted: true, Grace: defaultGrace}
	}
	if answer.Deleted {
		t.begun, t.deadline = true, asked.Add(answer.Grace)
	}
	return answer.Deleted
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
