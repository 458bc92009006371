package claims

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/load/bench/report"
	"github.com/portlease/portlease/e2e/load/bench/site"
)

// timing is how long one side took for a round.
type timing struct {
	all time.Duration
	// each has the time of each claim, sorted.
	each []time.Duration
}

func (t timing) perSecond() float64 { return float64(len(t.each)) / t.all.Seconds() }

func (t timing) quantile(share float64) float64 { return report.Quantile(t.each, share).Seconds() }

// race makes so many callers claim for n pods, each as soon as its last claim is done.
func race(ctx context.Context, callers, n int, claim func(ctx context.Context, caller, pod int) error) (timing, error) {
	t := timing{each: make([]time.Duration, n)}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for caller := range callers {
		group.Go(func() error {
			for pod := int(next.Add(1)) - 1; pod < n; pod = int(next.Add(1)) - 1 {
				asked := time.Now()
				if err := claim(ctx, caller, pod); err != nil {
					return err
				}
				t.each[pod] = time.Since(asked)
			}
			return nil
		})
	}
	err := group.Wait()
	t.all = time.Since(began)
	slices.Sort(t.each)
	return t, err
}

// result is one round of both sides.
type result struct {
	floor timing
	ours  oursRound
	// idle is the allocators' processor time during the floor's turn.
	idle time.Duration
}

// turn lets both sides claim for all pods, one after the other.
func turn(ctx context.Context, o *ours, f *floor, pods []*site.Pod, floorFirst bool) (r result, err error) {
	byFloor := func() error {
		before, err := o.processorTime()
		if err != nil {
			return err
		}
		if r.floor, err = f.round(ctx, pods); err != nil {
			return err
		}
		after, err := o.processorTime()
		r.idle = after - before
		return err
	}
	byOurs := func() error {
		if r.ours, err = o.round(ctx, pods); err != nil {
			return err
		}
		return o.clear(ctx, pods, r.ours)
	}
	sides := []func() error{byOurs, byFloor}
	if floorFirst {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// figures are in the order of the table's columns. What the allocators cost while nobody
// claims is no cost of claims.
func (r result) figures() []float64 {
	n := float64(len(r.ours.each))
	idle := r.idle.Seconds() / r.floor.all.Seconds()
	return []float64{
		r.ours.perSecond() / r.floor.perSecond(),
		r.ours.quantile(0.5) / r.floor.quantile(0.5),
		r.ours.quantile(0.99) / r.floor.quantile(0.99),
		1000 * (r.ours.processor.Seconds() - idle*r.ours.all.Seconds()) / n,
		float64(r.ours.calls) / n,
		100 * float64(r.ours.refused) / n,
		100 * idle,
		r.ours.resident,
		r.floor.perSecond(),
	}
}
