package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// ownPod records what is written on the pod.
type ownPod struct {
	mu        sync.Mutex // guards all below
	endpoint  int        // listener port; 0: withdrawn
	reachable pod.Condition
	calls     int
	// annotating is how long Announce takes.
	annotating time.Duration
	// ending is the answer of Termination, which takes some time; nil is an error.
	takes  time.Duration
	ending *pod.Termination
	events []string
	last   string // message of an event
	refuse error
	lose   error // the condition is set, but its answer is lost
}

func (o *ownPod) Announce(ctx context.Context, c api.Claim) error {
	if err := daemon.Sleep(ctx, o.annotating); err != nil { // in the bubble's time
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return o.refuse
	}
	o.endpoint = c.Ports[0].ListenerPort
	return nil
}

func (o *ownPod) Withdraw(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse == nil {
		o.endpoint = 0
	}
	return o.refuse
}

func (o *ownPod) SetReachable(_ context.Context, c pod.Condition) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls++; o.refuse == nil {
		o.reachable = c
	}
	return errors.Join(o.refuse, o.lose)
}

func (o *ownPod) Termination(ctx context.Context) (pod.Termination, error) {
	if err := daemon.Sleep(ctx, o.takes); err != nil { // in the bubble's time
		return pod.Termination{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending == nil {
		return pod.Termination{}, errors.New("the API server is unreachable")
	}
	return *o.ending, nil
}

func (o *ownPod) Record(_ context.Context, _ pod.EventType, reason, message string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events, o.last = append(o.events, reason), message
	return o.refuse
}

// recorded are the reasons of the events; what was recorded several times in a row is
// there once.
func (o *ownPod) recorded() []string {
	return slices.Compact(o.all())
}

func (o *ownPod) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.events)
}

func (o *ownPod) message() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func (o *ownPod) condition() pod.Condition {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reachable
}

// count is how often the condition was set.
func (o *ownPod) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls
}

func (o *ownPod) setTermination(e *pod.Termination) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ending = e
}

func (o *ownPod) says() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endpoint
}

func (o *ownPod) setLose(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lose = err
}

func (o *ownPod) setRefuse(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = err
}
