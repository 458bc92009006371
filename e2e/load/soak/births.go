package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/rig"
)

const (
	birthEvery = 150 * time.Millisecond
	// birthsAtOnce is how many pods are made at a time.
	birthsAtOnce = 4
	// The number of pods that are wanted is drawn anew after a while, between half of
	// the most and the most.
	leastWave, mostWave = 15 * time.Second, 40 * time.Second
)

// births makes pods while there are fewer than wanted.
func (s *soak) births(ctx context.Context, random *rand.Rand) error {
	tick := time.NewTicker(birthEvery)
	defer tick.Stop()
	group := new(errgroup.Group)
	group.SetLimit(birthsAtOnce)
	failed := make(chan error, birthsAtOnce)
	var unborn atomic.Int32
	var wanted int
	var until time.Time
	for {
		if now := time.Now(); now.After(until) {
			wanted, until = s.agents-random.IntN(s.agents/2+1), now.Add(between(random, leastWave, mostWave))
			s.diary.note("%d pods are wanted", wanted)
		}
		if running, _, _ := s.books.tally(); running+int(unborn.Load()) < wanted {
			name, address := s.books.identity(random)
			ports := "game=7777/UDP"
			if random.IntN(3) == 0 {
				ports += ",chat=8080/TCP"
			}
			unborn.Add(1)
			group.Go(func() error {
				defer unborn.Add(-1)
				err := s.bear(ctx, name, address, ports)
				if err != nil {
					failed <- err
				}
				return err
			})
		}
		select {
		case <-ctx.Done():
			return group.Wait()
		case err := <-failed:
			return err
		case <-tick.C:
		}
	}
}

// bear makes a pod and starts its agent.
func (s *soak) bear(ctx context.Context, name, address, ports string) (err error) {
	ctx = context.WithoutCancel(ctx)
	var p *rig.Pod
	if address == "" {
		p, err = s.NewPod(ctx, name, ports)
	} else {
		s.diary.count(addressReused)
		p, err = s.NewPodAt(ctx, name, ports, address)
	}
	if err != nil {
		return fmt.Errorf("making pod %s: %w", name, err)
	}
	l := s.books.enter(p)
	s.diary.note("%s: made, UID %s at %s, wants %s", p.Name, p.UID, p.IP, ports)
	s.diary.count(podMade)
	err = p.Start()
	s.books.change(l, func(l *life) { l.busy = false })
	return err
}
