package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portlease/portlease/agent/clock"
)

// stallTimeout is how long the agent may be silent beyond a pause that it announced.
// It is well over the slowest sequence of calls between two pauses.
const stallTimeout = 5 * time.Minute

// status answers the probes, from other goroutines.
type status struct {
	now func() time.Time

	mu        sync.Mutex // guards all below
	deadline  time.Time  // the next progress comes before it
	bound     bool
	announced bool
	healthy   bool
	started   bool
}

func newStatus(now func() time.Time) *status {
	s := &status{now: now}
	s.progress(0)
	return s
}

// watched is a clock whose sleep counts as progress.
func (s *status) watched(c clock.Clock) clock.Clock {
	sleep := c.Sleep
	c.Sleep = func(ctx context.Context, d time.Duration) error {
		s.progress(d)
		return sleep(ctx, d)
	}
	return c
}

// progress notes that the lifecycle moves, and will be silent for a pause.
func (s *status) progress(pause time.Duration) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = now.Add(pause + stallTimeout)
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

// Started is nil once the game server may start: its ports are, or were, bound and
// announced.
func (s *status) Started() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		return errors.New("not bound and announced yet")
	}
	return nil
}

// Ready is nil while all ports are bound and announced and the load balancer reports
// their targets healthy.
func (s *status) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.bound:
		return errors.New("not bound")
	case !s.announced:
		return errors.New("not announced")
	case !s.healthy:
		return errors.New("the load balancer does not report the pod healthy yet")
	}
	return nil
}

// Live is nil while the lifecycle moves.
func (s *status) Live() error {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if late := now.Sub(s.deadline); late > 0 {
		return fmt.Errorf("the agent is stalled: no progress for %v longer than allowed", late.Round(time.Second))
	}
	return nil
}
