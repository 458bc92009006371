package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// replicaFault is a fault of an allocator as the report names it, with the counters of
// its begin and its end; the report omits an empty counter.
type replicaFault struct {
	name string
	scenario.ReplicaFault
	begins, ends string
}

var replicaFaults = []replicaFault{
	{"allocator killed and restarted", scenario.ReplicaKilled, kills, restarts},
	{"allocator stopped and restarted", scenario.ReplicaStopped, "", restarts},
	{"allocator paused", scenario.ReplicaPaused, pauses, ""},
	{"allocator cut off from the API server", scenario.ReplicaCutOffKubernetes, "", ""},
	{"allocator cut off from AWS", scenario.ReplicaCutOffAWS, "", ""},
}

const (
	// Storms, in which allocators fail, and calms change. The first calm is short.
	firstCalm               = 5 * time.Second
	leastCalm, mostCalm     = 40 * time.Second, time.Minute
	leastStorm, mostStorm   = 15 * time.Second, 30 * time.Second
	leastGap, mostGap       = 500 * time.Millisecond, 3 * time.Second
	leastFailed, mostFailed = 200 * time.Millisecond, 8 * time.Second
)

// failReplicas lets allocators fail in storms: one or two at a time, sometimes all.
func (s *soak) failReplicas(ctx context.Context, random *rand.Rand) error {
	for calm := firstCalm; ctx.Err() == nil; calm = between(random, leastCalm, mostCalm) {
		scenario.Wait(ctx, calm)
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
			scenario.Wait(storm, between(random, leastGap, mostGap))
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
		f, a, length := replicaFaults[random.IntN(len(replicaFaults))], s.Replicas[n], between(random, leastFailed, mostFailed)
		group.Go(func() error {
			ending := context.WithoutCancel(ctx)
			defer s.judge.disturb()()
			s.diary.count(f.name)
			s.diary.count(f.begins)
			s.diary.note("%s: %s, for %v", a.Name(), f.name, length)
			if err := f.Begin(ending, a); err != nil {
				return fmt.Errorf("%s, %s: %w", a.Name(), f.name, err)
			}
			scenario.Wait(ctx, length)
			s.diary.count(f.ends)
			if err := f.End(ending, a); err != nil {
				return fmt.Errorf("%s, %s is to end: %w", a.Name(), f.name, err)
			}
			s.diary.note("%s: %s: over", a.Name(), f.name)
			return nil
		})
	}
	return group.Wait()
}
