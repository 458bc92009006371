// Package pacer reserves AWS calls for agents, janitor and inventory, so that
// together they fit the account's token buckets.
//
// Package budget decides; this package applies its decisions to the budget's Lease.
// It reads the Lease, decides, and writes by compare-and-swap; after a conflict it
// reads and decides again. All requests that arrive at one replica meanwhile are
// decided together in one write. The cache may be stale. Tokens are taken only by a
// write on the newest version, so the buckets are never overdrawn. A stale cache can
// cost a claim its place in the queue, and nothing more.
package pacer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// Config is what a Pacer needs; all of it is required.
type Config struct {
	Budgets ledger.Budgets
	Claims  ledger.Claims
	Ports   ledger.Ports
	// Limits returns the account's limits, or the share of them that may be used.
	Limits func() budget.Limits
	// Now must have a monotonic reading.
	Now func() time.Time
	// RenewEvery is how often a live agent renews its claim. No agent is told to wait
	// longer. A claim that did not change for twice that time loses its place in the
	// queue.
	RenewEvery time.Duration
	// Age is how long this process has seen a claim unchanged.
	Age func(name, version string) time.Duration
	Log *slog.Logger
	// Count counts requests by class and outcome, for metrics.
	Count func(class, outcome string)
}

// Outcomes of a request, for Count.
const (
	Granted  = "granted"
	Wait     = "wait"
	Failed   = "failed"
	Conflict = "conflict"
	// Believed and Ignored are those of reports that AWS throttled calls.
	Believed = "believed"
	Ignored  = "ignored"
)

// Pacer reserves AWS calls for one replica. It is safe for concurrent use.
type Pacer struct {
	Config
	start time.Time

	mu sync.Mutex // guards all below
	// uid and version are those of the Lease that clock saw last.
	uid, version string
	clock        budget.Clock
	// pending are the requests of the next batch. deciding is true while a goroutine
	// decides batches.
	pending  []*request
	deciding bool
	frequent frequent

	// line has the claims that wait; only the goroutine that decides batches uses it.
	line line
}

// New makes a Pacer that has seen nothing.
func New(c Config) *Pacer { return &Pacer{Config: c, start: c.Now(), frequent: make(frequent)} }

// Observe must be called soon after each change of the cache. The refill between a
// write and Observe may be lost.
func (p *Pacer) Observe() {
	if r, ok := p.Budgets.Cached(ledger.BudgetName); ok {
		p.saw(r, p.Now())
	}
}

// Left returns what the buckets hold now as far as this replica knows; false before
// it has seen the budget.
func (p *Pacer) Left() (budget.State, bool) {
	r, ok := p.Budgets.Cached(ledger.BudgetName)
	if !ok {
		return budget.State{}, false
	}
	p.saw(r, p.Now())
	return r.Value.After(p.Limits(), p.elapsed(r.Value.State, p.Now()), budget.Demand{}), true
}

// saw tells the clock of a version that it may not have seen yet.
func (p *Pacer) saw(r ledger.Record[ledger.Budget], at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.UID != p.uid {
		p.uid, p.version, p.clock = r.UID, "", budget.Clock{}
	}
	if r.Version != p.version {
		p.version = r.Version
		p.clock.Saw(r.Value.Counted, at.Sub(p.start))
	}
}

// wrote tells the clock of a version that this process wrote, as of before it sent
// the write.
func (p *Pacer) wrote(r ledger.Record[ledger.Budget], sent time.Time) {
	newest, ok := p.Budgets.Cached(ledger.BudgetName)
	if !ok || newest.Version != r.Version {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.UID != p.uid {
		p.uid, p.clock = r.UID, budget.Clock{}
	}
	p.version = r.Version
	p.clock.Saw(r.Value.Counted, sent.Sub(p.start))
}

// elapsed is the time that a state does not count yet.
func (p *Pacer) elapsed(s budget.State, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock.Elapsed(s.Counted, now.Sub(p.start))
}

// do puts a request into the next batch and waits for the reply.
func (p *Pacer) do(ctx context.Context, q *request) (time.Duration, error) {
	p.enqueue(ctx, q)
	return p.await(q)
}

// enqueue puts requests into the next batch, together.
func (p *Pacer) enqueue(ctx context.Context, requests ...*request) []*request {
	for _, q := range requests {
		q.ctx, q.reply = ctx, make(chan reply, 1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, requests...)
	if !p.deciding {
		p.deciding = true
		go p.decideBatches()
	}
	return requests
}

// await waits for the reply to a request.
func (p *Pacer) await(q *request) (time.Duration, error) {
	select {
	case got := <-q.reply:
		return got.wait, got.err
	case <-q.ctx.Done():
		// The tokens may be taken all the same. A create then finds its permit when it
		// asks again, and the other classes cost little.
		return 0, context.Cause(q.ctx)
	}
}

// decideBatches decides batch after batch until no request is pending.
func (p *Pacer) decideBatches() {
	for {
		p.mu.Lock()
		batch := p.pending
		p.pending = nil
		if len(batch) == 0 {
			p.deciding = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		p.answer(batch)
	}
}
