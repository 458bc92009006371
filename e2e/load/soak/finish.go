package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// verdict is the result of a soak.
type verdict struct {
	violations []error
	// searched is true if the soak got as far as searching for leftovers.
	searched  bool
	leftovers []error
}

func (v verdict) wrong() bool { return len(v.violations)+len(v.leftovers) > 0 }

const (
	// boundLimit is how long it may take until all pods are bound after the faults have
	// stopped.
	boundLimit = 90 * time.Second
	// emptyLimit is how long it may take until nothing is left of pods that are gone.
	emptyLimit = time.Minute
	// terminateLimit is how long an undisturbed agent may take to release its claim.
	terminateLimit = 20 * time.Second
	// terminateAtOnce is how many pods are terminated concurrently.
	terminateAtOnce = 8
	askEvery        = 250 * time.Millisecond
)

// finish runs after the faults have stopped: every live pod must be bound, then all
// pods are deleted, and nothing may be left.
func (s *soak) finish(ctx context.Context) (v verdict) {
	if err := scenario.Revive(ctx, s.Replicas); err != nil {
		s.checker.violate(fmt.Errorf("L2: an allocator does not serve once faults have stopped: %w", err))
	}
	pods := s.registry.alive()
	pods = pods[:s.fits(pods)]
	s.Say("faults have stopped: %d of %d pods must be bound, for so many the pool has ports", len(pods), len(s.registry.alive()))
	for _, l := range s.registry.alive()[len(pods):] {
		s.terminateCleanly(ctx, l)
	}
	s.require(ctx, boundLimit, "L2: every pod that lives must be bound", func() error {
		var errs []error
		for _, l := range pods {
			errs = append(errs, l.Started(ctx))
		}
		return errors.Join(append(errs, s.CheckAtRest(ctx))...)
	})
	s.Say("all are deleted, and nothing may be left")
	group := new(errgroup.Group)
	group.SetLimit(terminateAtOnce)
	for _, l := range pods {
		group.Go(func() error {
			s.terminateCleanly(ctx, l)
			return nil
		})
	}
	_ = group.Wait() // what was wrong is the judge's
	last := poll(ctx, emptyLimit, func() error { return s.CheckEmpty(ctx) })
	if err := s.Check(ctx); err != nil {
		s.checker.violate(err)
	}
	return verdict{violations: flatten(s.checker.found()...), searched: true, leftovers: flatten(last)}
}

// fits returns how many of the pods, oldest first, can certainly be bound at once. All
// ports of a pod are on one load balancer, so one port may stay unused on each.
func (s *soak) fits(pods []*gamePod) int {
	room := loadBalancers * (portsEach(s.agents) - 1)
	for n, l := range pods {
		if room -= l.wants(); room < 0 {
			return n
		}
	}
	return len(pods)
}

// terminateCleanly terminates a pod whose agent must end by itself.
func (s *soak) terminateCleanly(ctx context.Context, l *gamePod) {
	how, err := s.terminate(ctx, l, terminateLimit)
	if err == nil && how != endedInTime {
		err = fmt.Errorf("agent of %s: %s", l.Name, how)
	}
	if err != nil {
		s.checker.violate(fmt.Errorf("without any fault, a pod could not be ended: %w", err))
	}
}

// require records a violation if ask does not succeed within the limit.
func (s *soak) require(ctx context.Context, limit time.Duration, promise string, ask func() error) {
	if err := poll(ctx, limit, ask); err != nil {
		s.checker.violate(fmt.Errorf("%s within %v: %w", promise, limit, err))
	}
}

// poll asks until there is no error, for at most that long, and returns the last error.
func poll(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return scenario.Poll(ctx, askEvery, ask)
}

// flatten returns the single errors that the given errors were joined from. An error
// that wraps joined errors describes their context, so it stays whole.
func flatten(errs ...error) (single []error) {
	for _, err := range errs {
		joined, several := err.(interface{ Unwrap() []error })
		switch {
		case several:
			single = append(single, flatten(joined.Unwrap()...)...)
		case err != nil:
			single = append(single, err)
		}
	}
	return single
}
