package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// fate is one kind of thing that happens to a pod.
type fate struct {
	name string
	// weight is how often it happens, beside the others.
	weight int
	// befalls lets it happen. When ctx ends it hurries, and undoes all the same what
	// is to be undone.
	befalls func(ctx context.Context, s *soak, l *life, random *rand.Rand) error
}

// fates are of two kinds. After the first the pod lives as before, and keeps its
// ports; the others end it.
var fates = []fate{
	{"agent killed and restarted", 20, killed},
	{"agent paused", 10, pausedFor(100*time.Millisecond, claimDuration/2)},
	{"agent paused beyond its claim", 6, pausedFor(claimDuration+time.Second, 2*claimDuration)},
	{"agent cut off", 8, cutOff},
	{"agent's calls spoilt", 8, spoilt},

	{"pod deleted gracefully", 30, deleted(killAfter, killAfter)},
	{"pod deleted, killed amid its release", 8, deleted(10*time.Millisecond, 300*time.Millisecond)},
	{"pod crashed with its agent", 14, crashed},
	{"pod failed", 6, failedPod},
	{"pod force-deleted, its agent living", 8, forceDeleted},
	{"pod force-deleted, its agent paused", 6, forceDeletedPaused},
}

// Things that are counted besides the fates.
const (
	podMade       = "pods made"
	addressReused = "  of them at the address of one that is gone"
	kills         = "processes killed"
	pauses        = "processes paused"
	restarts      = "processes restarted"
)

// fateEvery is how often something happens when there are that many agents.
func fateEvery(agents int) time.Duration { return 25 * time.Second / time.Duration(max(agents, 20)) }

// fates lets things happen to pods until ctx ends.
func (s *soak) fates(ctx context.Context, random *rand.Rand) error {
	group, ctx := errgroup.WithContext(ctx)
	sum := 0
	for _, f := range fates {
		sum += f.weight
	}
	for ctx.Err() == nil {
		scenario.Wait(ctx, time.Duration(random.ExpFloat64()*float64(fateEvery(s.agents))))
		f, own := drawFate(random.IntN(sum)), rand.New(rand.NewPCG(random.Uint64(), 0))
		l := s.books.take(random)
		if l == nil || ctx.Err() != nil {
			continue
		}
		s.diary.count(f.name)
		s.diary.note("%s: %s", l.Name, f.name)
		group.Go(func() error {
			if err := f.befalls(ctx, s, l, own); err != nil {
				return fmt.Errorf("%s, %s: %w", l.Name, f.name, err)
			}
			s.diary.note("%s: %s: over", l.Name, f.name)
			s.books.change(l, func(l *life) { l.busy = false })
			return nil
		})
	}
	return group.Wait()
}

func drawFate(at int) fate {
	for _, f := range fates {
		if at < f.weight {
			return f
		}
		at -= f.weight
	}
	return fates[0]
}

// killed kills the agent and starts it again, as a kubelet does, with a back-off that
// sometimes outlasts the claim.
func killed(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
	backOff := between(random, 0, 2*time.Second)
	if random.IntN(4) == 0 {
		backOff = between(random, claimDuration, 2*claimDuration)
	}
	if err := s.kill(ctx, l); err != nil {
		return err
	}
	scenario.Wait(ctx, backOff)
	s.diary.count(restarts)
	return l.Start()
}

func pausedFor(least, most time.Duration) func(context.Context, *soak, *life, *rand.Rand) error {
	return func(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
		s.diary.count(pauses)
		if err := l.Pause(); err != nil {
			return err
		}
		scenario.Wait(ctx, between(random, least, most))
		return l.Resume()
	}
}

func cutOff(ctx context.Context, _ *soak, l *life, random *rand.Rand) error {
	l.Cut()
	scenario.Wait(ctx, between(random, 200*time.Millisecond, 2*claimDuration))
	l.Heal()
	return nil
}

// killAfter is how long a pod has to stop, which is more than agents need while an
// allocator answers.
const killAfter = 6 * time.Second

func deleted(least, most time.Duration) func(context.Context, *soak, *life, *rand.Rand) error {
	return func(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
		_, err := s.end(ctx, l, between(random, least, most))
		return err
	}
}

// crashed ends agent and pod at once, as when a node goes and is removed.
func crashed(ctx context.Context, s *soak, l *life, _ *rand.Rand) error {
	if err := s.kill(ctx, l); err != nil {
		return err
	}
	return s.bury(ctx, l)
}

// failedPod leaves the object of a pod whose agent was killed, failed, for longer
// than its claim.
func failedPod(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
	if err := s.kill(ctx, l); err != nil {
		return err
	}
	s.books.change(l, func(l *life) { l.told, l.removing = true, true })
	if err := s.Kube.FailPod(context.WithoutCancel(ctx), s.Games, l.Name); err != nil {
		return err
	}
	s.books.change(l, func(l *life) { l.gone = time.Now() })
	scenario.Wait(ctx, between(random, claimDuration, 2*claimDuration))
	return s.bury(ctx, l)
}

// forceDeleted removes the object of a pod whose agent lives on, as on a node that is
// cut off from the API server.
func forceDeleted(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
	if err := s.remove(ctx, l); err != nil {
		return err
	}
	scenario.Wait(ctx, between(random, claimDuration, 3*claimDuration))
	return s.bury(ctx, l)
}

// forceDeletedPaused is forceDeleted with an agent that sleeps until its port and
// address may be another's, and then goes on where it was.
func forceDeletedPaused(ctx context.Context, s *soak, l *life, random *rand.Rand) error {
	s.diary.count(pauses)
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
	return s.bury(ctx, l)
}
