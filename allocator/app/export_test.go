package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
)

// Audits runs the loop that describes load balancers and audits, with the default
// intervals, until ctx ends.
func Audits(ctx context.Context, stock *inventory.Inventory, j *janitor.Janitor, leads bool, log *slog.Logger) error {
	h := &housekeeping{
		process: &process{Config: Config{SweepEvery: 2 * time.Second, AuditEvery: 30 * time.Second}, log: log},
		stock:   stock, janitor: j, poolsChanged: make(chan struct{}, 1),
	}
	limits := budget.Default()
	h.limits.Store(&limits)
	if leads {
		h.lead(ctx)
	}
	return h.audits(ctx)
}

// ParallelReads is how many load balancers a process reads at a time.
const ParallelReads = parallelReads
