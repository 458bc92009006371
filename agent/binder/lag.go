package binder

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/shared/elb"
)

// Not all of AWS knows at once what was just created. For some seconds any call on a new
// target group may answer that it does not exist
// (https://github.com/hashicorp/terraform-provider-aws/issues/16860), or may be denied by
// a policy that depends on its tags. Such calls are repeated, ever more rarely.
const (
	firstLagPause = 500 * time.Millisecond
	mostLagPause  = 4 * time.Second
	// goneWhileNew is for how long after its creation a target group that does not exist is
	// believed to exist.
	goneWhileNew = 20 * time.Second
	// goneForSure is for how long a target group of unknown age must be gone to count as
	// gone where another pod's traffic depends on it: the allocator's longest lag.
	goneForSure = time.Minute
	// deniedWhileNew is the same for a denied call. It is short, because a role without the
	// right would cost the account calls for nothing.
	deniedWhileNew = 4 * time.Second
)

// patiently makes a call on the target group of this attempt until it does not fail for
// being too early.
func (a *attempt) patiently(ctx context.Context, call func() error) error {
	for pause := firstLagPause; ; pause = min(2*pause, mostLagPause) {
		err := call()
		if !a.tooEarly(err) || a.Clock.Sleep(ctx, pause) != nil {
			return err
		}
	}
}

func (a *attempt) tooEarly(err error) bool {
	age := a.Clock.Now().Sub(a.created)
	return errors.Is(err, elb.ErrTargetGroupGone) && age < goneWhileNew || errors.Is(err, elb.ErrDenied) && age < deniedWhileNew
}
