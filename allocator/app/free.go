package app

import (
	"context"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// freeBudget paces nothing.
type freeBudget struct{}

func (freeBudget) Bind(context.Context, ledger.Record[ledger.Claim], []ledger.Port, int) (time.Duration, error) {
	return 0, nil
}
func (freeBudget) Unbind(context.Context, string) (bool, error) { return true, nil }
func (freeBudget) Throttled(context.Context, int) error         { return nil }
