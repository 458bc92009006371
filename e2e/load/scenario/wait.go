package scenario

import (
	"context"
	"time"
)

// Wait returns after d, or as soon as ctx ends.
func Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Poll calls ask at an interval until it succeeds or ctx ends. It returns the last
// error that ask returned before ctx ended.
func Poll(ctx context.Context, every time.Duration, ask func() error) error {
	var last error
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if ctx.Err() != nil {
			return last
		}
		Wait(ctx, every)
	}
}
