package app

import (
	"context"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
)

// heldRefresh is how often the mark is written again without a change: an admin may have
// deleted it.
const heldRefresh = 30 * time.Second

// heldMark is the last state that this replica wrote to the Lease that tells if any port
// is held.
type heldMark struct {
	held bool
	// written is zero if this replica has not led since.
	written time.Time
}

// markHeld keeps the mark up to date. Only the leader calls it.
func (h *housekeeping) markHeld(ctx context.Context) {
	held := slices.ContainsFunc(h.leases.Ports().CachedAll(), func(r *ledger.Record[ledger.Port]) bool { return r.Value.Held() })
	if held == h.mark.held && time.Since(h.mark.written) < heldRefresh {
		return
	}
	if err := kubelease.MarkHeld(ctx, h.kube.main, h.Namespace, held); err != nil {
		h.log.ErrorContext(ctx, "failed to update a Lease; retrying with the next sweep", "lease", kubelease.HeldLease, "held", held, "err", err)
		return
	}
	h.mark = heldMark{held, time.Now()}
}
