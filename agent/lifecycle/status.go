package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/pod"
)

// stallTimeout is how long the agent may be silent beyond a pause that it announced.
// It is well over the slowest sequence of calls between two pauses.
const stallTimeout = 5 * time.Minute

// status answers the probes, from other goroutines.
type status struct {
	now func() time.Time

	mu        sync.Mutex // guards all below
	deadline  time.Time  // the next progress comes before it
	started   bool
	condition pod.Condition
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

func (s *status) setCondition(c pod.Condition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.condition = c
}

func (s *status) setStarted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
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

// Ready is nil while players reach the pod, as far as the agent knows. Otherwise it says
// why they do not.
func (s *status) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.condition.Reachable {
		return fmt.Errorf("%s: %s", s.condition.Reason, s.condition.Message)
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
