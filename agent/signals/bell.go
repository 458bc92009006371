package signals

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bell ends another goroutine's wait. It is safe for concurrent use; only one goroutine
// may Wait.
type Bell struct {
	mu sync.Mutex // guards all below
	// rung is whether it was rung since the last Clear, and wake ends a Wait.
	rung bool
	wake context.CancelCauseFunc
}

var errWoken = errors.New("the bell was rung")

// Ring ends the present Wait, or the next one at once.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = true
	if b.wake != nil {
		b.wake(errWoken)
	}
}

// Clear forgets that the bell was rung. Call it before reading what the ringing is about.
func (b *Bell) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = false
}

// Wait sleeps until d has passed or the bell is rung, also if that was since the last
// Clear. It reports whether it was rung. The error is sleep's.
func (b *Bell) Wait(ctx context.Context, sleep func(context.Context, time.Duration) error, d time.Duration) (rung bool, err error) {
	sleeping, wake := context.WithCancelCause(ctx)
	defer wake(nil)
	b.setWake(wake)
	defer b.setWake(nil)
	err = sleep(sleeping, d)
	if ctx.Err() == nil && errors.Is(context.Cause(sleeping), errWoken) {
		return true, nil
	}
	return false, err
}

func (b *Bell) setWake(wake context.CancelCauseFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake = wake
	if wake != nil && b.rung {
		wake(errWoken)
	}
}
