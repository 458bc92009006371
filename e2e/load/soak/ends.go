package soak

import (
	"context"
	"time"

	"github.com/portlease/portlease/agent/app"
)

// kill ends the agent at once.
func (s *soak) kill(ctx context.Context, l *life) error {
	s.diary.count(kills)
	return l.Kill(context.WithoutCancel(ctx))
}

// remove removes the pod's object. From then on others may have its name and its
// address, whether its agent lives or not.
func (s *soak) remove(ctx context.Context, l *life) error {
	s.books.change(l, func(l *life) { l.told, l.removing = true, true })
	if err := l.Remove(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	s.books.vacate(l)
	s.diary.note("%s: removed", l.Name)
	return nil
}

// bury removes what is left of a pod, its agent included.
func (s *soak) bury(ctx context.Context, l *life) error {
	if !s.books.read(l).vacated {
		if err := s.remove(ctx, l); err != nil {
			return err
		}
	}
	if l.Running() {
		s.diary.count(kills)
	}
	err := l.Crash(context.WithoutCancel(ctx))
	s.books.change(l, func(l *life) { l.over = true })
	return err
}

// How agents end that were told to.
const (
	endedWell  = "agents ended in time"
	endedLate  = "agents killed at the end of their grace"
	endedBadly = "agents ended with an error"
)

// end ends the pod as a kubelet does: deletion and preStop hook, SIGTERM to the
// agent, SIGKILL when it takes longer than grace, and then the pod is removed. It
// tells how the agent ended.
func (s *soak) end(ctx context.Context, l *life, grace time.Duration) (how string, err error) {
	ctx = context.WithoutCancel(ctx)
	s.books.change(l, func(l *life) { l.told = true })
	if err := s.Kube.TerminatePod(ctx, s.Games, l.Name, grace); err != nil {
		return "", err
	}
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if l.Running() {
		if err := l.Say(graceful, app.PathPreStop); err != nil {
			s.diary.note("%s: preStop hook failed: %v", l.Name, err) // a kubelet goes on, too
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
		how = endedWell
	default:
		how = endedBadly
	}
	s.diary.count(how)
	s.diary.note("%s: %s, code %d", l.Name, how, code)
	return how, s.bury(ctx, l)
}
