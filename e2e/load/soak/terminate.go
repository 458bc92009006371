package soak

import (
	"context"
	"time"

	"github.com/portlease/portlease/agent/app"
)

// kill kills the agent.
func (s *soak) kill(ctx context.Context, l *gamePod) error {
	s.history.count(kills)
	return l.Kill(context.WithoutCancel(ctx))
}

// remove removes the pod object. From then on other pods may have its name and address,
// whether its agent lives or not.
func (s *soak) remove(ctx context.Context, l *gamePod) error {
	s.registry.update(l, func(l *gamePod) { l.terminating, l.removing = true, true })
	if err := l.Remove(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	s.registry.freeIdentity(l)
	s.history.log("%s: removed", l.Name)
	return nil
}

// removeAll removes the pod object, if it is still there, and kills its agent.
func (s *soak) removeAll(ctx context.Context, l *gamePod) error {
	if !s.registry.snapshot(l).identityFree {
		if err := s.remove(ctx, l); err != nil {
			return err
		}
	}
	if l.Running() {
		s.history.count(kills)
	}
	err := l.Crash(context.WithoutCancel(ctx))
	s.registry.update(l, func(l *gamePod) { l.ended = true })
	return err
}

// These counters are the ways in which a terminated agent ends.
const (
	endedInTime    = "agents ended in time"
	endedLate      = "agents killed at the end of their grace"
	endedWithError = "agents ended with an error"
)

// terminate ends the pod as a kubelet does: deletion and preStop hook, SIGTERM to the
// agent, SIGKILL after the grace period, and removal of the object. It returns how the
// agent ended.
func (s *soak) terminate(ctx context.Context, l *gamePod, grace time.Duration) (how string, err error) {
	ctx = context.WithoutCancel(ctx)
	s.registry.update(l, func(l *gamePod) { l.terminating = true })
	if err := s.Kube.TerminatePod(ctx, s.Games, l.Name, grace); err != nil {
		return "", err
	}
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if l.Running() {
		if err := l.Say(graceful, app.PathPreStop); err != nil {
			s.history.log("%s: preStop hook failed: %v", l.Name, err) // a kubelet goes on, too
		}
	}
	if err := l.Signal(); err != nil {
		return "", err
	}
	code, err := l.Ended(graceful)
	switch {
	case err != nil:
		how = endedLate
	case code == 0:
		how = endedInTime
	default:
		how = endedWithError
	}
	s.history.count(how)
	s.history.log("%s: %s, code %d", l.Name, how, code)
	return how, s.removeAll(ctx, l)
}
