package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// longQueue is from when on a pod's waiting for its turn is told to people.
const longQueue = 10 * time.Second

// queue waits for the turn that the allocator gave and asks again. All pods of the
// account share a few calls a second, so a pod of a large fleet may do this many
// times; told is the longest wait that was spoken of.
func (a *Agent) queue(ctx context.Context, h *holding, wait time.Duration, told *time.Duration) error {
	if *told == 0 {
		a.Log.InfoContext(ctx, "binding waits for its turn at AWS", "seconds", wait.Seconds())
	}
	if wait > longQueue && *told <= longQueue {
		a.tell(ctx, Normal, "WaitingForAWS", fmt.Sprintf("AWS allows the account a few calls a second, and %v of them are others' first", wait.Round(time.Second)))
	}
	*told = max(*told, wait)
	if err := a.pause(ctx, wait); err != nil {
		return err
	}
	return a.again(ctx, h)
}

// again asks where the claim stands and whether its calls are paid for. A pod that
// has a listener presents it, so that a ledger that has lost the claim takes it up
// instead of giving the pod another port.
func (a *Agent) again(ctx context.Context, h *holding) error {
	if !h.listens() {
		return a.claim(ctx, h)
	}
	var pace pace
	var trouble trouble
	for {
		_, _, err := a.renew(ctx, h)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, api.ErrLost):
			return err
		}
		a.meet(ctx, &trouble, "claim not renewed", err)
		if err := a.pause(ctx, pace.next(err, a.Jitter)); err != nil {
			return err
		}
	}
}

// noteThrottled counts the calls that AWS refused as too many, for the allocator.
func (a *Agent) noteThrottled(err error) { a.throttled += throttled(err) }

// throttled counts them in an error that may join those of several calls.
func throttled(err error) (calls int) {
	switch wrapped := err.(type) { //nolint:errorlint // it takes the error apart
	case interface{ Unwrap() []error }:
		for _, one := range wrapped.Unwrap() {
			calls += throttled(one)
		}
	case interface{ Unwrap() error }:
		calls = throttled(wrapped.Unwrap())
	}
	if err == elb.ErrThrottled { //nolint:errorlint // each occurrence is one call
		calls++
	}
	return calls
}
