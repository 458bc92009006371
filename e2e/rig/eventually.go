package rig

import (
	"context"
	"fmt"
	"time"
)

// Eventually calls ask until it returns no error. It gives up after a generous time
// or with ctx, and returns the last error.
func Eventually(ctx context.Context, what string, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last time: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
