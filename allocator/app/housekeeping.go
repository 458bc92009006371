package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/admin"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/kubelease"
)

const (
	// describeEvery is how often load balancers themselves are looked at.
	describeEvery = 5 * time.Minute
	// describeRetry is how soon again when that failed.
	describeRetry = 5 * time.Second
	// actTimeout bounds one sweep or audit, so that a hanging call ends. A fleet that
	// starts leaves few of the account's calls to looks.
	actTimeout = 10 * time.Minute
	// reportSweeps is how many times rarer than sweeps everything is counted for
	// metrics, which nobody reads as often.
	reportSweeps = 5
	// standbyAudits is how many times rarer a replica that does not lead lists the
	// load balancers.
	standbyAudits = 10
)

// housekeeping is the loop that observes the ledger on every replica and sweeps
// on the one that leads.
type housekeeping struct {
	*process
	stock    *inventory.Inventory
	leases   *kubelease.Leases
	observer *janitor.Observer
	janitor  *janitor.Janitor
	wake     <-chan struct{}
	admins   *admin.Service
	// described asks for the load balancers to be described at once.
	described chan struct{}
	mark      heldMark
	// emptied has the cordoned load balancers that were said to be empty.
	emptied map[string]bool

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

// sweeps observes on every replica and sweeps on the leading one. It never waits
// for the looks of audits, which may take minutes while a fleet starts.
func (h *housekeeping) sweeps(ctx context.Context) error {
	tick := time.NewTicker(h.SweepEvery)
	defer tick.Stop()
	var reported time.Time
	for {
		var again <-chan time.Time
		if hungry := h.sweep(ctx); hungry {
			again = time.After(janitor.BudgetRetry)
		}
		if time.Since(reported) >= reportSweeps*h.SweepEvery {
			h.report(ctx)
			reported = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-again:
		case <-h.wake:
		}
	}
}

// audits describes the load balancers now and then and lists them more often.
func (h *housekeeping) audits(ctx context.Context) error {
	tick := time.NewTicker(h.SweepEvery)
	defer tick.Stop()
	var describe, audit time.Time // when next; zero is at once
	retry := describeRetry
	led := false
	for {
		if leads := h.leading(); leads != led {
			led, audit = leads, time.Time{} // a new leader looks at once
		}
		if !time.Now().Before(describe) {
			if err := h.describe(ctx); err != nil {
				h.log.ErrorContext(ctx, "load balancers not described", "err", err)
				describe = time.Now().Add(retry)
				retry = min(2*retry, describeEvery)
			} else {
				describe, retry = time.Now().Add(describeEvery), describeRetry
				audit = time.Time{} // what is new is used once it is listed
			}
		}
		if !time.Now().Before(audit) {
			next := h.audit(ctx)
			audit = time.Now().Add(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.described:
			describe = time.Time{}
		}
	}
}

func (h *housekeeping) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	return h.stock.Describe(ctx)
}

// audit lists what there is. Who stands by does so rarely, because all replicas
// pay from one budget: what others listen on is in the ledger by then, written
// there by the replica that leads.
func (h *housekeeping) audit(ctx context.Context) (next time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if h.leading() {
		if err := h.janitor.Audit(ctx); err != nil {
			h.log.ErrorContext(ctx, "audit incomplete", "err", err)
		}
		return h.AuditEvery
	}
	if _, err := h.stock.List(ctx); err != nil {
		h.log.ErrorContext(ctx, "load balancers not listed", "err", err)
		return h.AuditEvery
	}
	return standbyAudits * h.AuditEvery
}

// report logs when a cordoned load balancer has become empty.
func (h *housekeeping) report(ctx context.Context) {
	empty := make(map[string]bool)
	for _, v := range h.admins.LoadBalancers() {
		if v.Cordoned == "" || !v.Empty {
			continue
		}
		empty[v.ARN] = true
		if !h.emptied[v.ARN] {
			h.log.InfoContext(ctx, "cordoned load balancer is empty: it may be removed", "loadBalancer", v.ARN, "cordoned", v.Cordoned)
		}
	}
	h.emptied = empty
}

func (h *housekeeping) sweep(ctx context.Context) (budgetLimited bool) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if !h.leading() {
		h.mark = heldMark{}
		h.observer.Observe(h.leases.Claims().CachedAll(), h.leases.Ports().CachedAll())
		return false
	}
	h.markHeld(ctx)
	if err := h.janitor.Sweep(ctx); err != nil {
		h.log.ErrorContext(ctx, "sweep incomplete", "err", err)
	}
	return h.janitor.BudgetLimited()
}
