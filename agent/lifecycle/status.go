package lifecycle

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// standstill is how long the agent may be silent beyond an announced pause. It
// is well over the slowest sequence of calls between two pauses.
const standstill = 5 * time.Minute

// status is what probes look at, from other goroutines.
type status struct {
	mu        sync.Mutex // guards all below
	expected  time.Time  // when the loop moves at the latest
	bound     bool
	announced bool
	healthy   bool
	started   bool
}

func (s *status) began(now time.Time) { s.moved(now, 0) }

func (s *status) moved(now time.Time, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected = now.Add(pause + standstill)
}

func (s *status) setBound(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound = yes
}

func (s *status) setHealthy(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.healthy = yes
}

func (s *status) setAnnounced(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announced = yes
	s.started = s.started || yes
}

// Started is nil once the game server may start: its ports are bound and their
// endpoints announced, or were at some time.
func (a *Agent) Started() error {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	if !a.status.started {
		return errors.New("not bound and announced yet")
	}
	return nil
}

// Ready is nil while all ports are bound and announced, and the load balancer finds
// their targets healthy.
func (a *Agent) Ready() error {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	switch {
	case !a.status.bound:
		return errors.New("not bound")
	case !a.status.announced:
		return errors.New("not announced")
	case !a.status.healthy:
		return errors.New("the load balancer does not find the pod healthy yet")
	}
	return nil
}

// Live is nil while the lifecycle moves.
func (a *Agent) Live() error {
	now := a.Clock.Now()
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	if late := now.Sub(a.status.expected); late > 0 {
		return fmt.Errorf("the agent has stood still for %v more than it should", late.Round(time.Second))
	}
	return nil
}
