package app

import (
	"context"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
)

// heldEvery is how often the mark is made again although nothing has changed:
// somebody may have deleted it.
const heldEvery = 30 * time.Second

// heldMark is what this replica knows of the Lease that says whether any port is
// held.
type heldMark struct {
	held bool
	// made is when that was written; zero: this replica has not led since.
	made time.Time
}

// markHeld keeps the mark true; only the replica that leads does.
func (h *housekeeping) markHeld(ctx context.Context) {
	held := slices.ContainsFunc(h.leases.Ports().CachedAll(), func(r ledger.Record[ledger.Port]) bool { return r.Value.Held() })
	if held == h.mark.held && time.Since(h.mark.made) < heldEvery {
		return
	}
	if err := kubelease.MarkHeld(ctx, h.kube, h.Namespace, held); err != nil {
		h.log.ErrorContext(ctx, "not marked whether ports are held", "held", held, "err", err)
		return
	}
	h.mark = heldMark{held, time.Now()}
}
