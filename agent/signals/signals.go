// Package signals carries what the game server and the kubelet tell the agent, from
// the goroutines that hear it to the lifecycle, which it wakes.
package signals

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Signals is safe for concurrent use; only one goroutine may Read and Wait.
type Signals struct {
	mu      sync.Mutex // guards all below
	current State
	// unread is whether a signal came since the last Read, and wake ends a Wait.
	unread bool
	wake   context.CancelCauseFunc
}

// State is the sum of all signals so far. The zero value is before the first.
type State struct {
	// NotReady is whether the game takes no players. A game that never sends a signal
	// is ready.
	NotReady bool
	// Drained is whether the game's last player has left.
	Drained bool
	// Stopping is whether the kubelet has begun the pod's termination.
	Stopping bool
}

var (
	errWoken    = errors.New("a signal came")
	errNotReady = errors.New("the game reports that it is not ready")
)

// GameReady ends GameNotReady.
func (s *Signals) GameReady() { s.send(func(c *State) { c.NotReady = false }) }

// GameNotReady keeps players away until GameReady: the health check fails and the
// pod's condition is false. The port stays.
func (s *Signals) GameNotReady() { s.send(func(c *State) { c.NotReady = true }) }

// GameDrained ends draining: the game no longer needs its port.
func (s *Signals) GameDrained() { s.send(func(c *State) { c.Drained = true }) }

// PodStopping comes from the preStop hook, because a native sidecar gets SIGTERM
// only after the game has ended.
func (s *Signals) PodStopping() { s.send(func(c *State) { c.Stopping = true }) }

// ClearStopping revokes PodStopping: only the container stops, not the pod.
func (s *Signals) ClearStopping() { s.send(func(c *State) { c.Stopping = false }) }

func (s *Signals) send(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.current)
	s.unread = true
	if s.wake != nil {
		s.wake(errWoken)
	}
}

// GameAnswers is nil unless the game reports that it is not ready.
func (s *Signals) GameAnswers() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.NotReady {
		return errNotReady
	}
	return nil
}

// Read returns the current state.
func (s *Signals) Read() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = false
	return s.current
}

// Wait sleeps until d has passed or a signal comes, also one that came since the
// last Read. It reports whether a signal came. The error is sleep's.
func (s *Signals) Wait(ctx context.Context, sleep func(context.Context, time.Duration) error, d time.Duration) (woken bool, err error) {
	sleeping, wake := context.WithCancelCause(ctx)
	defer wake(nil)
	s.setWake(wake)
	defer s.setWake(nil)
	err = sleep(sleeping, d)
	if ctx.Err() == nil && errors.Is(context.Cause(sleeping), errWoken) {
		return true, nil
	}
	return false, err
}

func (s *Signals) setWake(wake context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
	if wake != nil && s.unread {
		wake(errWoken)
	}
}
