package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// verdict is how a soak ended.
type verdict struct {
	violations []error
	// settled is that it was looked for leftovers at all.
	settled   bool
	leftovers []error
}

func (v verdict) wrong() bool { return len(v.violations)+len(v.leftovers) > 0 }

const (
	// boundLimit is how long all pods may take to be bound once faults have stopped.
	boundLimit = 90 * time.Second
	// emptyLimit is how long it may take until nothing is left of pods that are gone.
	emptyLimit = time.Minute
	// endLimit is how long an undisturbed agent may take to give back.
	endLimit = 20 * time.Second
	// endsAtOnce is how many pods are ended at a time.
	endsAtOnce = 8
	askEvery   = 250 * time.Millisecond
)

// settle is the end, without any faults: whoever lives must be bound, all pods are
// deleted, and nothing may be left.
func (s *soak) settle(ctx context.Context) (v verdict) {
	if err := scenario.Revive(ctx, s.Replicas); err != nil {
		s.judge.violate(fmt.Errorf("L2: an allocator does not serve once faults have stopped: %w", err))
	}
	lives := s.books.living()
	lives = lives[:s.fit(lives)]
	s.Say("faults have stopped: %d of %d pods must be bound, for so many the pool has ports", len(lives), len(s.books.living()))
	for _, l := range s.books.living()[len(lives):] {
		s.endWell(ctx, l)
	}
	s.await(ctx, boundLimit, "L2: every pod that lives must be bound", func() error {
		var errs []error
		for _, l := range lives {
			errs = append(errs, l.Started(ctx))
		}
		return errors.Join(append(errs, s.CheckSettled(ctx))...)
	})
	s.Say("all are deleted, and nothing may be left")
	group := new(errgroup.Group)
	group.SetLimit(endsAtOnce)
	for _, l := range lives {
		group.Go(func() error {
			s.endWell(ctx, l)
			return nil
		})
	}
	_ = group.Wait() // what was wrong is the judge's
	last := poll(ctx, emptyLimit, func() error { return s.CheckEmpty(ctx) })
	if err := s.Check(ctx); err != nil {
		s.judge.violate(err)
	}
	return verdict{violations: leaves(s.judge.found()...), settled: true, leftovers: leaves(last)}
}

// fit is how many of the pods, the oldest first, can be bound at once for certain:
// all ports of a pod are on one load balancer, so that one may be left on each.
func (s *soak) fit(lives []*life) int {
	room := loadBalancers * (portsEach(s.agents) - 1)
	for n, l := range lives {
		if room -= l.wants(); room < 0 {
			return n
		}
	}
	return len(lives)
}

// endWell ends a pod whose agent must end by itself.
func (s *soak) endWell(ctx context.Context, l *life) {
	how, err := s.end(ctx, l, endLimit)
	if err == nil && how != endedWell {
		err = fmt.Errorf("agent of %s: %s", l.Name, how)
	}
	if err != nil {
		s.judge.violate(fmt.Errorf("without any fault, a pod could not be ended: %w", err))
	}
}

// await makes it a broken promise if something does not come about in time.
func (s *soak) await(ctx context.Context, limit time.Duration, promise string, ask func() error) {
	if err := poll(ctx, limit, ask); err != nil {
		s.judge.violate(fmt.Errorf("%s within %v: %w", promise, limit, err))
	}
}

// poll asks until there is no error, for at most that long, and returns the last error.
func poll(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return scenario.Poll(ctx, askEvery, ask)
}

// leaves are the single errors that some were joined from. One that wraps joined
// errors says what they are about, and stays whole.
func leaves(errs ...error) (single []error) {
	for _, err := range errs {
		joined, several := err.(interface{ Unwrap() []error })
		switch {
		case several:
			single = append(single, leaves(joined.Unwrap()...)...)
		case err != nil:
			single = append(single, err)
		}
	}
	return single
}
