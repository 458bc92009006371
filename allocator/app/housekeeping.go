package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/admin"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/paced"
)

const (
	// describeInterval is how often the load balancers are described.
	describeInterval = 5 * time.Minute
	// describeRetry is the first back-off after that failed, and maxDescribeRetry the last.
	describeRetry    = 5 * time.Second
	maxDescribeRetry = 40 * time.Second
	// actTimeout bounds one sweep, one pass of unbinding and one audit, so that a hanging
	// call ends. It is long because a starting fleet leaves little of the AWS budget to
	// describe calls.
	actTimeout = 10 * time.Minute
	// reportSweeps is after how many sweeps empty load balancers are reported.
	reportSweeps = 5
	// deregisterGrace is how long a stopping agent may take to deregister its targets.
	deregisterGrace = 5 * time.Second
	// standbyAudits is how many times less often a standby replica lists the load
	// balancers.
	standbyAudits = 10
	// parallelReads is how many load balancers are read at a time, so that the time that
	// AWS needs to answer leaves no calls of the budget unused.
	parallelReads = 4
)

// housekeeping observes the ledger on every replica, and sweeps and audits on the
// leader.
type housekeeping struct {
	*process
	stock    *inventory.Inventory
	leases   *kubelease.Leases
	observer *janitor.Observer
	janitor  *janitor.Janitor
	wake     <-chan struct{}
	// swept asks to unbind what the last sweep has released.
	swept  chan struct{}
	admins *admin.Service
	// poolsChanged asks for the load balancers to be described at once.
	poolsChanged chan struct{}
	mark         heldMark
	// emptied has the cordoned load balancers that were reported as empty.
	emptied map[string]bool

	// term is the context of the last time this replica was made leader.
	term atomic.Pointer[context.Context]
	// sweptAt and auditedAt are when that last succeeded.
	sweptAt, auditedAt moment
	// claims is how many pods had a claim when they were counted last.
	claims atomic.Int64
}

// lead is called when this replica becomes the leader; ctx ends when it no longer is.
func (h *housekeeping) lead(ctx context.Context) { h.term.Store(&ctx) }

func (h *housekeeping) leading() bool {
	term := h.term.Load()
	return term != nil && (*term).Err() == nil
}

// observe times every lease, leader or not. It waits for no call, so that a hanging one
// makes nothing look younger than it is.
func (h *housekeeping) observe(ctx context.Context) error {
	tick := time.NewTicker(h.SweepEvery)
	defer tick.Stop()
	for {
		h.observer.Observe(h.leases.Claims().CachedAll(), h.leases.Ports().CachedAll())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweeps sweeps the ledger on the leader. It never waits for AWS.
func (h *housekeeping) sweeps(ctx context.Context) error {
	tick := time.NewTicker(h.SweepEvery)
	defer tick.Stop()
	var reported time.Time
	for {
		h.sweep(ctx)
		signal(h.swept)
		if time.Since(reported) >= reportSweeps*h.SweepEvery {
			h.report(ctx)
			reported = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.wake:
		}
	}
}

// unbinds deregisters and unbinds released ports on the leader, after each sweep. It never
// waits for the describe calls of audits, which may take minutes while a fleet starts.
func (h *housekeeping) unbinds(ctx context.Context) error {
	for {
		var again <-chan time.Time
		if next := h.unbind(ctx); next > 0 {
			again = time.After(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-h.swept:
		}
	}
}

// audits describes the load balancers now and then, and audits more often. The first pass
// also lists them all. So the first audit is one interval later, and leaves the calls until
// then to the replicas that still have to read.
func (h *housekeeping) audits(ctx context.Context) error {
	tick := time.NewTicker(h.SweepEvery)
	defer tick.Stop()
	var describe, listed time.Time // the next pass, and when all were listed last
	retry, failed := describeRetry, false
	for {
		if !time.Now().Before(describe) {
			if err := h.describe(ctx); err != nil {
				h.log.ErrorContext(ctx, "failed to describe some load balancers; the others are used, and the rest is retried", "err", err, "after", retry)
				describe = time.Now().Add(retry)
				retry = min(2*retry, maxDescribeRetry)
			} else {
				describe, retry = time.Now().Add(describeInterval), describeRetry
			}
			if listed.IsZero() {
				listed = time.Now()
			}
		}
		if time.Since(listed) >= h.auditInterval(failed) {
			failed = !h.audit(ctx)
			listed = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.poolsChanged:
			describe = time.Time{}
		}
	}
}

// auditInterval is the time between two audits. A standby replica lists rarely, because all
// replicas share one AWS budget. So one that becomes the leader mostly audits at once.
func (h *housekeeping) auditInterval(failed bool) time.Duration {
	if h.leading() || failed {
		return h.AuditEvery
	}
	return standbyAudits * h.AuditEvery
}

func (h *housekeeping) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	return h.stock.Describe(h.following(ctx, inventory.FirstReads(h.stock.Unread())))
}

// following marks the calls of a pass that let those of the leader go first, unless this
// replica leads. calls is how many there are.
func (h *housekeeping) following(ctx context.Context, calls int) context.Context {
	return paced.Following(ctx, calls, h.limits.Load().DescribesPerSecond(), time.Now, h.leading)
}

// audit compares AWS with the ledger on the leader. A standby replica only lists the
// listeners; the leader records foreign ones in the ledger.
func (h *housekeeping) audit(ctx context.Context) (succeeded bool) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if h.leading() {
		err := h.janitor.Audit(ctx)
		if err != nil {
			h.log.ErrorContext(ctx, "audit failed; the next one retries", "err", err)
			return false
		}
		h.auditedAt.now()
		return true
	}
	_, err := h.stock.List(h.following(ctx, len(h.stock.States())))
	if err != nil {
		h.log.ErrorContext(ctx, "failed to list the listeners; the next audit retries", "err", err)
	}
	return err == nil
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
			h.log.InfoContext(ctx, "cordoned load balancer is empty: remove it from the pool file and delete it", "loadBalancer", v.ARN, "cordoned", v.Cordoned)
		}
	}
	h.emptied = empty
}

func (h *housekeeping) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if !h.leading() {
		h.mark = heldMark{}
		return
	}
	h.markHeld(ctx)
	if err := h.janitor.Sweep(ctx); err != nil {
		h.log.ErrorContext(ctx, "sweep failed in part; the next one retries", "err", err)
		return
	}
	h.sweptAt.now()
}

func (h *housekeeping) unbind(ctx context.Context) (next time.Duration) {
	if !h.leading() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	if err := h.janitor.UnbindReleasing(ctx); err != nil {
		h.log.ErrorContext(ctx, "failed to unbind some released ports; retrying", "err", err)
	}
	return h.janitor.NextUnbind()
}

// moment is when something happened last.
type moment struct{ at atomic.Pointer[time.Time] }

func (m *moment) now() {
	at := time.Now()
	m.at.Store(&at)
}

// time is zero if it never happened.
func (m *moment) time() time.Time {
	if at := m.at.Load(); at != nil {
		return *at
	}
	return time.Time{}
}
