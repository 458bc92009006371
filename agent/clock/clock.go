// Package clock is the agent's only access to time, so that tests and the
// simulation can replace it.
package clock

import (
	"context"
	"time"
)

// Clock has all its functions set.
type Clock struct {
	Now func() time.Time
	// Sleep waits for the duration, or returns the cause of ctx if ctx ends first.
	Sleep func(context.Context, time.Duration) error
	// Timeout behaves as context.WithTimeout.
	Timeout func(context.Context, time.Duration) (context.Context, context.CancelFunc)
}
