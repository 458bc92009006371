// Package signals carries what the game server and the kubelet tell the agent, from
// the goroutines that hear it to the lifecycle, which it wakes.
package signals

import (
	"errors"
	"sync"
)

// Signals is safe for concurrent use; only one goroutine may Read and Wait.
type Signals struct {
	Bell

	mu      sync.Mutex // guards current
	current State
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

var errNotReady = errors.New("the game reports that it is not ready")

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
	change(&s.current)
	s.mu.Unlock()
	s.Ring()
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
	s.Clear()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}
