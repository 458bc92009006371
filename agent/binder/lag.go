package binder

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Not all of AWS knows at once what was just created. For some seconds any call on a new
// target group may answer that it does not exist
// (https://github.com/hashicorp/terraform-provider-aws/issues/16860), or may be denied by
// a policy that depends on its tags. A call that fails so has cost the account a token all
// the same. So a new target group or listener is used only once it is as old as the claim's
// Propagation, and calls that fail even then are repeated, ever more rarely.
const (
	firstLagPause = 500 * time.Millisecond
	mostLagPause  = 4 * time.Second
	// goneWhileNew is for how long after its creation a target group that does not exist is
	// believed to exist.
	goneWhileNew = 20 * time.Second
	// goneForSure is for how long a target group of unknown age must be gone to count as
	// gone where another pod's traffic depends on it: the allocator's longest lag.
	goneForSure = time.Minute
	// deniedWhileNew is the same for a denied call, beyond that. It is short, because
	// a role without the right would cost the account calls for nothing.
	deniedWhileNew = 4 * time.Second
)

// lagPauses are the pauses between calls that may have come too early.
type lagPauses struct{ next time.Duration }

func lagPausesOf(c api.Claim) lagPauses { return lagPauses{max(c.Propagation(), firstLagPause)} }

func (p *lagPauses) sleep(ctx context.Context, b *Binder) error {
	pause := p.next
	p.next = min(2*pause, max(mostLagPause, pause))
	return b.Clock.Sleep(ctx, pause)
}

// patiently makes a call on the target group of this attempt until it does not fail for
// being too early.
func (a *attempt) patiently(ctx context.Context, call func() error) error {
	for pauses := lagPausesOf(a.holding.Claim); ; {
		err := call()
		if !a.tooEarly(err) || pauses.sleep(ctx, a.Binder) != nil {
			return err
		}
	}
}

func (a *attempt) tooEarly(err error) bool {
	age := a.Clock.Now().Sub(a.created)
	return errors.Is(err, elb.ErrTargetGroupGone) && age < goneWhileNew || errors.Is(err, elb.ErrDenied) && age < a.holding.Claim.Propagation()+deniedWhileNew
}

// awaitTargetGroups waits until AWS is likely to know all target groups that were just
// created.
func (all attempts) awaitTargetGroups(ctx context.Context) error {
	return all.await(ctx, func(a *attempt) time.Time { return a.created })
}

// awaitListeners does the same for listeners.
func (all attempts) awaitListeners(ctx context.Context) error {
	return all.await(ctx, func(a *attempt) time.Time { return a.listening })
}

func (all attempts) await(ctx context.Context, created func(*attempt) time.Time) error {
	for _, a := range all.usable() {
		if wait := a.holding.Claim.Propagation() - a.Clock.Now().Sub(created(a)); wait > 0 {
			if err := a.Clock.Sleep(ctx, wait); err != nil {
				return a.failed(err)
			}
		}
	}
	return nil
}
