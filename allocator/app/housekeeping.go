package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/kubelease"
)

const (
	// describeEvery is how often load balancers themselves are looked at.
	describeEvery = 5 * time.Minute
	// describeRetry is how soon again when that failed.
	describeRetry = 5 * time.Second
	// actTimeout bounds one sweep or audit, so that a hanging call ends.
	actTimeout = 2 * time.Minute
)

// housekeeping is the loop that observes the ledger on every replica and sweeps
// on the one that leads.
type housekeeping struct {
	*process
	stock    *inventory.Inventory
	leases   *kubelease.Leases
	observer *janitor.Observer
	janitor  *janitor.Janitor
	nudge    <-chan struct{}

	// term is the context of the last time this replica was made leader.
	term atomic.Pointer[context.Context]
}

// lead is called when this replica becomes leader; ctx ends when it no longer
// is.
func (h *housekeeping) lead(ctx context.Context) { h.term.Store(&ctx) }

func (h *housekeeping) leading() bool {
	term := h.term.Load()
	return term != nil && (*term).Err() == nil
}

func (h *housekeeping) run(ctx context.Context) error {
	tick := time.NewTicker(h.SweepEvery)
	defer tick.Stop()
	var describe, audit time.Time // when next; zero is at once
	for {
		now := time.Now()
		if !now.Before(describe) {
			describe = now.Add(h.describe(ctx))
		}
		if !now.Before(audit) {
			h.audit(ctx)
			audit = now.Add(h.AuditEvery)
		}
		h.sweep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.nudge:
		}
	}
}

func (h *housekeeping) describe(ctx context.Context) (next time.Duration) {
	if err := h.stock.Describe(ctx); err != nil {
		h.log.ErrorContext(ctx, "load balancers not described", "err", err)
		return describeRetry
	}
	return describeEvery
}

func (h *housekeeping) audit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if !h.leading() {
		if _, err := h.stock.List(ctx); err != nil {
			h.log.ErrorContext(ctx, "load balancers not listed", "err", err)
		}
		return
	}
	if err := h.janitor.Audit(ctx); err != nil {
		h.log.ErrorContext(ctx, "audit incomplete", "err", err)
	}
}

func (h *housekeeping) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if !h.leading() {
		h.observer.Observe(h.leases.Claims().View(), h.leases.Ports().View())
		return
	}
	if err := h.janitor.Sweep(ctx); err != nil {
		h.log.ErrorContext(ctx, "sweep incomplete", "err", err)
	}
}
