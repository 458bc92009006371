package pacer_test

import (
	"context"
	"time"

	"github.com/portlease/portlease/e2e/ledgermem"
)

// network carries the calls to the ledger, with delays and faults. Caches hear of
// every write at once.
type network struct {
	// flight is how long each call takes.
	flight time.Duration
	// answer is how long the answer to a write takes after watchers were notified.
	answer time.Duration
	// fault, if set, decides for each write whether it is applied and what error the
	// writer gets.
	fault func() (apply bool, err error)
}

func (n *network) carry(ctx context.Context, c ledgermem.Call, apply func() error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(n.flight):
	}
	if !c.Write() {
		return apply()
	}
	defer time.Sleep(n.answer) // in the bubble
	if n.fault == nil {
		return apply()
	}
	applied, err := n.fault()
	if !applied {
		return err
	}
	if failed := apply(); failed != nil {
		return failed
	}
	return err
}
