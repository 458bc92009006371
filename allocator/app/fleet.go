package app

import (
	"context"
	"time"

	"github.com/portlease/portlease/shared/daemon"
)

// fleetInterval is how often the claims are counted. Limits that grow with the fleet may
// follow it slowly, because their minimum is far above what a start needs.
const fleetInterval = 10 * time.Second

// fleet gives how many pods have a claim.
func (h *housekeeping) fleet() int { return int(h.claims.Load()) }

// countFleet keeps fleet up to date until ctx ends.
func (h *housekeeping) countFleet(ctx context.Context) error {
	for {
		h.claims.Store(int64(len(h.leases.Claims().CachedAll())))
		if daemon.Sleep(ctx, fleetInterval) != nil {
			return nil
		}
	}
}
