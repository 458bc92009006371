package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

const (
	// together is how many pods are created or ended concurrently.
	together = 8
	// boundLimit is how long the honest pods may take to be bound. A pod that is not
	// bound by then counts as not bound.
	boundLimit = 45 * time.Second
	// playFor is how long players play at least.
	playFor = 2 * time.Second
)

// wave is the honest pods of one round. Each has a game, and a player as soon as it is
// bound.
type wave struct {
	w       *world
	pods    []*rig.Pod
	players []*player
	measure
}

// measure is what the honest pods of a round experienced.
type measure struct {
	pods, bound int
	// p99 is the time from the start of the agents until 99% of the pods were bound.
	p99 time.Duration
	// sent and lost are packets of players.
	sent, lost int
}

// newWave creates the pods and starts their games.
func (w *world) newWave(ctx context.Context) (*wave, error) {
	v := &wave{w: w, pods: make([]*rig.Pod, w.pods), measure: measure{pods: w.pods}}
	first := w.named
	w.named += w.pods
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i := range v.pods {
		group.Go(func() (err error) {
			if v.pods[i], err = w.NewPod(ctx, fmt.Sprintf("honest-%d", first+i), "game=7777/UDP"); err != nil {
				return err
			}
			return v.pods[i].StartGame("udp-echo", 7777)
		})
	}
	return v, group.Wait()
}

// bind starts all agents at once, waits until the pods are bound, and lets players
// play. Pods that are not bound in time are no error.
func (v *wave) bind(ctx context.Context) error {
	began := time.Now()
	for _, p := range v.pods {
		if err := p.Start(); err != nil {
			return err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, boundLimit)
	defer cancel()
	took := make([]time.Duration, 0, len(v.pods))
	left := slices.Clone(v.pods)
	err := scenario.Poll(waiting, 20*time.Millisecond, func() error {
		var err error
		left = slices.DeleteFunc(left, func(p *rig.Pod) bool {
			// The agent writes the file when the pod is bound.
			file, missing := os.Stat(filepath.Join(p.Shared(), "endpoint"))
			if missing != nil {
				return false
			}
			took = append(took, file.ModTime().Sub(began))
			err = errors.Join(err, v.join(ctx, p))
			return true
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d pods are not bound", len(left))
		}
		return err
	})
	if ctx.Err() != nil {
		return err
	}
	v.bound, v.p99 = len(took), boundLimit
	if len(left) == 0 {
		v.p99 = percentile99(took)
	}
	scenario.Wait(ctx, playFor)
	return nil
}

// percentile99 is the smallest value that 99% of the values do not exceed.
func percentile99(values []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(99*len(sorted)+99)/100-1]
}

func (v *wave) join(ctx context.Context, p *rig.Pod) error {
	endpoint, err := p.Endpoint()
	if err != nil {
		return err
	}
	one, err := newPlayer(ctx, endpoint)
	if err != nil {
		return err
	}
	v.players = append(v.players, one)
	return nil
}

// stop stops the players and counts their packets.
func (v *wave) stop() {
	for _, p := range v.players {
		p.stop()
	}
	for _, p := range v.players {
		sent, answered := p.count()
		v.sent, v.lost = v.sent+sent, v.lost+sent-answered
	}
	v.players = nil
}

// end ends the pods as kubelets do. Agents that fail to release are left to the
// janitor.
func (v *wave) end(ctx context.Context) error {
	v.stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(len(v.pods) + 1)
	for _, p := range v.pods {
		if p == nil {
			continue
		}
		group.Go(func() error {
			if err := p.Terminate(ctx); err != nil {
				return p.Crash(context.WithoutCancel(ctx))
			}
			return nil
		})
	}
	return group.Wait()
}
