package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	return a.claim(ctx, h)
}

// noteThrottled counts a call that AWS refused as too many, for the allocator.
func (a *Agent) noteThrottled(err error) {
	if errors.Is(err, elb.ErrThrottled) {
		a.throttled++
	}
}
