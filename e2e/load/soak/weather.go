package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/rig"
)

// failure is something bad that happens to an allocator and ends.
type failure struct {
	name       string
	begin, end func(context.Context, *soak, *rig.Replica) error
}

var failures = []failure{
	{
		"allocator killed and restarted",
		func(ctx context.Context, s *soak, a *rig.Replica) error { s.diary.count(kills); return a.Kill(ctx) },
		func(ctx context.Context, s *soak, a *rig.Replica) error { s.diary.count(restarts); return a.Start(ctx) },
	},
	{
		"allocator stopped and restarted",
		func(ctx context.Context, _ *soak, a *rig.Replica) error { return a.Stop(ctx) },
		func(ctx context.Context, s *soak, a *rig.Replica) error { s.diary.count(restarts); return a.Start(ctx) },
	},
	{
		"allocator paused",
		func(_ context.Context, s *soak, a *rig.Replica) error { s.diary.count(pauses); return a.Pause() },
		func(_ context.Context, _ *soak, a *rig.Replica) error { return a.Resume() },
	},
	{
		"allocator cut off from the API server",
		func(_ context.Context, _ *soak, a *rig.Replica) error { a.CutKubernetes(); return nil },
		func(_ context.Context, _ *soak, a *rig.Replica) error { a.Heal(); return nil },
	},
	{
		"allocator cut off from AWS",
		func(_ context.Context, _ *soak, a *rig.Replica) error { a.CutAWS(); return nil },
		func(_ context.Context, _ *soak, a *rig.Replica) error { a.Heal(); return nil },
	},
}

const (
	// Storms, in which allocators fail, and calms change. The first calm is short.
	firstCalm               = 5 * time.Second
	leastCalm, mostCalm     = 40 * time.Second, time.Minute
	leastStorm, mostStorm   = 15 * time.Second, 30 * time.Second
	leastGap, mostGap       = 500 * time.Millisecond, 3 * time.Second
	leastFailed, mostFailed = 200 * time.Millisecond, 8 * time.Second
)

// weather lets allocators fail in storms, one or two of them at a time and now and
// then all.
func (s *soak) weather(ctx context.Context, random *rand.Rand) error {
	for calm := firstCalm; ctx.Err() == nil; calm = between(random, leastCalm, mostCalm) {
		wait(ctx, calm)
		length := between(random, leastStorm, mostStorm)
		s.diary.note("a storm of %v", length)
		storm, cancel := context.WithTimeout(ctx, length)
		for storm.Err() == nil {
			hit := random.Perm(replicas)[:1+random.IntN(2)]
			if random.IntN(8) == 0 {
				hit = random.Perm(replicas)
			}
			if err := s.fail(storm, hit, random); err != nil {
				cancel()
				return err
			}
			wait(storm, between(random, leastGap, mostGap))
		}
		cancel()
		s.diary.note("the storm is over")
	}
	return nil
}

// fail lets some allocators fail together, each for its own time.
func (s *soak) fail(ctx context.Context, hit []int, random *rand.Rand) error {
	group := new(errgroup.Group)
	for _, n := range hit {
		f, a, length := failures[random.IntN(len(failures))], s.Replicas[n], between(random, leastFailed, mostFailed)
		group.Go(func() error {
			ending := context.WithoutCancel(ctx)
			defer s.judge.disturb()()
			s.diary.count(f.name)
			s.diary.note("%s: %s, for %v", a.Name(), f.name, length)
			if err := f.begin(ending, s, a); err != nil {
				return fmt.Errorf("%s, %s: %w", a.Name(), f.name, err)
			}
			wait(ctx, length)
			if err := f.end(ending, s, a); err != nil {
				return fmt.Errorf("%s, %s is to end: %w", a.Name(), f.name, err)
			}
			s.diary.note("%s: %s: over", a.Name(), f.name)
			return nil
		})
	}
	return group.Wait()
}
