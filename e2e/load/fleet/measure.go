package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/shared/elb"
)

// Figures are what a fleet took at AWS's own speed.
type Figures struct {
	// Start is the time from the first PUT to the last endpoint. Calls and Throttled are
	// those to AWS meanwhile.
	Start            time.Duration
	Calls, Throttled int
	// Stop is the time from the first SIGTERM until everything was released; 0 if the
	// fleet was not stopped. Leftovers are this installation's listeners and target groups
	// after it.
	Stop      time.Duration
	Leftovers int
}

// Bound is how long the mutating calls take that start or stop so many pods, at AWS's rate
// after its burst.
func Bound(pods int) time.Duration {
	return time.Duration((&fleet{pods: pods}).bound() * float64(time.Second))
}

// InUseWindow is how long AWS refuses to delete a target group after its listener.
func InUseWindow() time.Duration { return elbemu.PublishedDelays().InUse }

// Measure starts a fleet at AWS's speed, and stops it if stop is set.
func Measure(ctx context.Context, stage *scenario.Stage, pods int, stop bool) (figures Figures, err error) {
	f := &fleet{pods: pods, speed: 1, Stage: stage}
	if stop {
		f.grace = grace
	}
	if err := f.start(ctx); err != nil {
		return figures, err
	}
	defer func() { err = errors.Join(err, f.abandon(context.WithoutCancel(ctx))) }()
	r, err := f.bind(ctx)
	if err != nil {
		return figures, err
	}
	figures.Start = r.took
	for action := range r.after {
		calls, throttled := r.of(action)
		figures.Calls, figures.Throttled = figures.Calls+calls, figures.Throttled+throttled
	}
	if !stop {
		return figures, nil
	}
	if r, err = f.stop(ctx); err != nil {
		return figures, err
	}
	figures.Stop, figures.Leftovers = r.took, f.leftovers()
	return figures, nil
}

// leftovers counts what carries this installation's tag.
func (f *fleet) leftovers() (count int) {
	s := f.Emulator.Snapshot()
	for _, l := range s.Listeners {
		if l.Tags[elb.TagLedger] == f.Ledger {
			count++
		}
	}
	for _, g := range s.TargetGroups {
		if g.Tags[elb.TagLedger] == f.Ledger {
			count++
		}
	}
	return count
}
