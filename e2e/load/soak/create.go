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
	createEvery = 150 * time.Millisecond
	// createsAtOnce is how many pods are created concurrently.
	createsAtOnce = 4
	// The wanted number of pods changes after a random time. It is between half of the
	// maximum and the maximum.
	minWave, maxWave = 15 * time.Second, 40 * time.Second
)

// createPods creates pods while there are fewer than wanted.
func (s *soak) createPods(ctx context.Context, random *rand.Rand) error {
	tick := time.NewTicker(createEvery)
	defer tick.Stop()
	group := new(errgroup.Group)
	group.SetLimit(createsAtOnce)
	failed := make(chan error, createsAtOnce)
	var creating atomic.Int32
	var wanted int
	var until time.Time
	for {
		if now := time.Now(); now.After(until) {
			wanted, until = s.agents-random.IntN(s.agents/2+1), now.Add(between(random, minWave, maxWave))
			s.history.log("%d pods are wanted", wanted)
		}
		if running, _, _ := s.registry.counts(); running+int(creating.Load()) < wanted {
			name, address := s.registry.drawIdentity(random)
			ports := "game=7777/UDP"
			if random.IntN(3) == 0 {
				ports += ",chat=8080/TCP"
			}
			creating.Add(1)
			group.Go(func() error {
				defer creating.Add(-1)
				err := s.createPod(ctx, name, address, ports)
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

// createPod creates a pod and starts its agent.
func (s *soak) createPod(ctx context.Context, name, address, ports string) (err error) {
	ctx = context.WithoutCancel(ctx)
	var p *rig.Pod
	if address == "" {
		p, err = s.NewPod(ctx, name, ports)
	} else {
		s.history.count(addressReused)
		p, err = s.NewPodAt(ctx, name, ports, address)
	}
	if err != nil {
		return fmt.Errorf("making pod %s: %w", name, err)
	}
	l := s.registry.add(p)
	s.history.log("%s: made, UID %s at %s, wants %s", p.Name, p.UID, p.IP, ports)
	s.history.count(podMade)
	err = p.Start()
	s.registry.update(l, func(l *gamePod) { l.busy = false })
	return err
}
