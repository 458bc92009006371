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
	// Storms, in which allocators fail, alternate with pauses. The first pause is
	// short.
	firstPause           = 5 * time.Second
	minPause, maxPause   = 40 * time.Second, time.Minute
	minStorm, maxStorm   = 15 * time.Second, 30 * time.Second
	minGap, maxGap       = 500 * time.Millisecond, 3 * time.Second
	minFailed, maxFailed = 200 * time.Millisecond, 8 * time.Second
)

// failReplicas lets allocators fail in storms: one or two at a time, sometimes all.
func (s *soak) failReplicas(ctx context.Context, random *rand.Rand) error {
	for stable := firstPause; ctx.Err() == nil; stable = between(random, minPause, maxPause) {
		scenario.Wait(ctx, stable)
		length := between(random, minStorm, maxStorm)
		s.history.log("a storm of %v", length)
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
			scenario.Wait(storm, between(random, minGap, maxGap))
		}
		cancel()
		s.history.log("the storm is over")
	}
	return nil
}

// fail makes some allocators fail together, each for its own time.
func (s *soak) fail(ctx context.Context, hit []int, random *rand.Rand) error {
	group := new(errgroup.Group)
	for _, n := range hit {
		f, a, length := replicaFaults[random.IntN(len(replicaFaults))], s.Replicas[n], between(random, minFailed, maxFailed)
		group.Go(func() error {
			ending := context.WithoutCancel(ctx)
			defer s.checker.replicaFails()()
			s.history.count(f.name)
			s.history.count(f.begins)
			s.history.log("%s: %s, for %v", a.Name(), f.name, length)
			if err := f.Begin(ending, a); err != nil {
				return fmt.Errorf("%s, %s: %w", a.Name(), f.name, err)
			}
			scenario.Wait(ctx, length)
			s.history.count(f.ends)
			if err := f.End(ending, a); err != nil {
				return fmt.Errorf("%s, %s is to end: %w", a.Name(), f.name, err)
			}
			s.history.log("%s: %s: over", a.Name(), f.name)
			return nil
		})
	}
	return group.Wait()
}
