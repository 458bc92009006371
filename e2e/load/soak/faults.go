package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// podFault is one kind of fault of a pod.
type podFault struct {
	name string
	// weight is the relative frequency.
	weight int
	// run plays the fault. When ctx ends it finishes early, but still undoes everything
	// that has to be undone.
	run func(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error
}

// podFaults come in two groups. After a fault of the first group the pod lives on and
// keeps its ports; the faults of the second group end the pod.
var podFaults = []podFault{
	{"agent killed and restarted", 20, killed},
	{"agent paused", 10, pausedFor(100*time.Millisecond, claimDuration/2)},
	{"agent paused beyond its claim", 6, pausedFor(claimDuration+time.Second, 2*claimDuration)},
	{"agent cut off", 8, cutOff},
	{"agent's calls made to fail", 8, failCalls},

	{"pod deleted gracefully", 30, deleted(killAfter, killAfter)},
	{"pod deleted, killed amid its release", 8, deleted(10*time.Millisecond, 300*time.Millisecond)},
	{"pod crashed with its agent", 14, crashed},
	{"pod failed", 6, failedPod},
	{"pod force-deleted, its agent living", 8, forceDeleted},
	{"pod force-deleted, its agent paused", 6, forceDeletedPaused},
}

// These counters are not counts of faults.
const (
	podMade       = "pods made"
	addressReused = "  of them at the address of one that is gone"
	kills         = "processes killed"
	pauses        = "processes paused"
	restarts      = "processes restarted"
)

// faultInterval is the mean time between two faults for that many agents.
func faultInterval(agents int) time.Duration {
	return 25 * time.Second / time.Duration(max(agents, 20))
}

// podFaults plays faults on random pods until ctx ends.
func (s *soak) podFaults(ctx context.Context, random *rand.Rand) error {
	group, ctx := errgroup.WithContext(ctx)
	sum := 0
	for _, f := range podFaults {
		sum += f.weight
	}
	for ctx.Err() == nil {
		scenario.Wait(ctx, time.Duration(random.ExpFloat64()*float64(faultInterval(s.agents))))
		f, own := drawFault(random.IntN(sum)), rand.New(rand.NewPCG(random.Uint64(), 0))
		l := s.registry.takeIdle(random)
		if l == nil || ctx.Err() != nil {
			continue
		}
		s.history.count(f.name)
		s.history.log("%s: %s", l.Name, f.name)
		group.Go(func() error {
			if err := f.run(ctx, s, l, own); err != nil {
				return fmt.Errorf("%s, %s: %w", l.Name, f.name, err)
			}
			s.history.log("%s: %s: over", l.Name, f.name)
			s.registry.update(l, func(l *gamePod) { l.busy = false })
			return nil
		})
	}
	return group.Wait()
}

func drawFault(at int) podFault {
	for _, f := range podFaults {
		if at < f.weight {
			return f
		}
		at -= f.weight
	}
	return podFaults[0]
}

// killed kills the agent and starts it again after a back-off, as a kubelet does. The
// back-off sometimes exceeds the claim duration.
func killed(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
	backOff := between(random, 0, 2*time.Second)
	if random.IntN(4) == 0 {
		backOff = between(random, claimDuration, 2*claimDuration)
	}
	if err := s.kill(ctx, l); err != nil {
		return err
	}
	scenario.Wait(ctx, backOff)
	s.history.count(restarts)
	return l.Start()
}

func pausedFor(least, most time.Duration) func(context.Context, *soak, *gamePod, *rand.Rand) error {
	return func(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
		s.history.count(pauses)
		if err := l.Pause(); err != nil {
			return err
		}
		scenario.Wait(ctx, between(random, least, most))
		return l.Resume()
	}
}

func cutOff(ctx context.Context, _ *soak, l *gamePod, random *rand.Rand) error {
	l.Cut()
	scenario.Wait(ctx, between(random, 200*time.Millisecond, 2*claimDuration))
	l.Heal()
	return nil
}

// killAfter is the grace period of a pod. It is longer than agents need while an
// allocator answers.
const killAfter = 6 * time.Second

func deleted(least, most time.Duration) func(context.Context, *soak, *gamePod, *rand.Rand) error {
	return func(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
		_, err := s.terminate(ctx, l, between(random, least, most))
		return err
	}
}

// crashed ends agent and pod at once, as when a node disappears and its object is
// removed.
func crashed(ctx context.Context, s *soak, l *gamePod, _ *rand.Rand) error {
	if err := s.kill(ctx, l); err != nil {
		return err
	}
	return s.removeAll(ctx, l)
}

// failedPod kills the agent and leaves the pod object Failed for longer than its claim.
func failedPod(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
	if err := s.kill(ctx, l); err != nil {
		return err
	}
	s.registry.update(l, func(l *gamePod) { l.terminating, l.removing = true, true })
	if err := s.Kube.FailPod(context.WithoutCancel(ctx), s.Games, l.Name); err != nil {
		return err
	}
	s.registry.update(l, func(l *gamePod) { l.removedAt = time.Now() })
	scenario.Wait(ctx, between(random, claimDuration, 2*claimDuration))
	return s.removeAll(ctx, l)
}

// forceDeleted removes the pod object while the agent lives on, as on a node that is
// cut off from the API server.
func forceDeleted(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
	if err := s.remove(ctx, l); err != nil {
		return err
	}
	scenario.Wait(ctx, between(random, claimDuration, 3*claimDuration))
	return s.removeAll(ctx, l)
}

// forceDeletedPaused is forceDeleted with an agent that is paused until its port and
// address may belong to another pod, and then continues.
func forceDeletedPaused(ctx context.Context, s *soak, l *gamePod, random *rand.Rand) error {
	s.history.count(pauses)
	if err := l.Pause(); err != nil {
		return err
	}
	if err := s.remove(ctx, l); err != nil {
		return err
	}
	scenario.Wait(ctx, between(random, claimDuration, 3*claimDuration))
	if err := l.Resume(); err != nil {
		return err
	}
	scenario.Wait(ctx, between(random, time.Second, claimDuration))
	return s.removeAll(ctx, l)
}
