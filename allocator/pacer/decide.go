package pacer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

const (
	// batchTimeout bounds one batch, so that an API server that hangs delays later
	// requests no longer than this.
	batchTimeout = 10 * time.Second
	// maxAttempts bounds how often a batch is decided. All replicas write the same Lease,
	// and each conflict means that one of them succeeded.
	maxAttempts = 50
)

// answer decides a batch and replies to its requests.
func (p *Pacer) answer(batch []*request) {
	batch = slices.DeleteFunc(batch, func(q *request) bool { return q.ctx.Err() != nil })
	if len(batch) == 0 {
		return
	}
	// A requester that gives up must not fail the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), batchTimeout)
	defer cancel()
	err := p.decide(ctx, batch)
	for _, q := range batch {
		if err == nil && q.throttled > 0 {
			p.countReport(q.believed)
		}
		if q.class == throttlingReport {
			q.reply <- reply{err: err}
			continue
		}
		if err != nil {
			p.Count(string(q.class), Failed)
			q.reply <- reply{err: fmt.Errorf("reserving AWS calls: %w", err)}
			continue
		}
		outcome := Granted
		if q.wait > 0 {
			outcome = Wait
		}
		p.Count(string(q.class), outcome)
		q.reply <- reply{wait: q.wait}
	}
}

func (p *Pacer) countReport(believed bool) {
	outcome := Ignored
	if believed {
		outcome = Believed
	}
	p.Count(string(throttlingReport), outcome)
}

// decide decides a batch and writes what changed. It differs from ledger.Change in two
// ways. A refusal may rest on a stale cache, because the requester asks again anyway. And
// a budget Lease that was deleted meanwhile is created again.
func (p *Pacer) decide(ctx context.Context, batch []*request) error {
	r, cached := p.Budgets.Cached(ledger.BudgetName)
	for range maxAttempts {
		if !cached {
			var err error
			if r, err = p.readOrCreate(ctx); err != nil {
				return err
			}
		}
		now := p.Now()
		p.saw(r, now)
		outcomes, err := p.permitOutcomes(ctx, r.Value.Permits)
		if err != nil {
			return err
		}
		d := decision{
			Pacer: p, queue: p.buildQueue(batch), outcomes: outcomes, limits: p.Limits(),
			state: r.Value.State, elapsed: p.elapsed(r.Value.State, now),
		}
		d.run(batch)
		if !d.changed {
			return nil
		}
		r.Value.State, r.Value.UpdatedAt = d.state, now
		written, err := p.Budgets.Update(ctx, r)
		if err == nil {
			p.wrote(written, now)
			return nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return err
		}
		p.Count("write", Conflict)
		cached = false
	}
	return ledger.ErrContended
}

// readOrCreate reads the newest budget. An absent or unreadable budget begins anew
// with empty buckets.
func (p *Pacer) readOrCreate(ctx context.Context) (ledger.Record[ledger.Budget], error) {
	for range maxAttempts {
		r, err := p.Budgets.Get(ctx, ledger.BudgetName)
		if errors.Is(err, ledger.ErrUnreadable) {
			p.Log.WarnContext(ctx, "AWS budget Lease is unreadable; starting with empty buckets", "lease", ledger.BudgetName, "err", err)
			return r, nil
		}
		if !errors.Is(err, ledger.ErrAbsent) {
			return r, err
		}
		r, err = p.Budgets.Create(ctx, ledger.BudgetName, ledger.Budget{UpdatedAt: p.Now()})
		if !errors.Is(err, ledger.ErrConflict) {
			return r, err
		}
	}
	return ledger.Record[ledger.Budget]{}, ledger.ErrContended
}

// decision is one pass over a batch.
type decision struct {
	*Pacer
	queue    queue
	outcomes map[string]budget.PermitOutcome // by claim
	limits   budget.Limits
	state    budget.State
	// elapsed is the time that state does not count yet.
	elapsed time.Duration
	// changed is true if state must be written.
	changed bool
}

// run decides every request of a batch in the order of the classes; creates are
// decided oldest first.
func (d *decision) run(batch []*request) {
	for _, q := range batch {
		if q.throttled > 0 {
			d.reportThrottling(q)
		}
	}
	demand := d.queue.demand(d.state)
	for _, class := range []budget.Class{budget.Create, budget.Retry} {
		d.takeCreates(class, demand)
	}
	for _, class := range []budget.Class{budget.Delete, budget.Describe} {
		demand = d.queue.demand(d.state)
		for _, q := range batch {
			if q.class == class {
				d.take(q, budget.Tokens{}, demand)
			}
		}
	}
}

// takeCreates decides the requests of creates of one class.
func (d *decision) takeCreates(class budget.Class, demand budget.Demand) {
	if len(d.queue.asking) == 0 {
		return
	}
	var older budget.Tokens
	for _, w := range d.queue.creates {
		if w.class != class {
			continue
		}
		for _, q := range w.requests {
			d.take(q, d.queue.olderThan(w, older, d.state), demand)
		}
		older = older.Plus(w.before)
	}
}

// take takes the tokens of one request or sets its wait.
func (d *decision) take(q *request, older budget.Tokens, demand budget.Demand) {
	next, wait := budget.Take(d.state, d.limits, d.elapsed, budget.Request{
		Requester: q.requester, Class: q.class, Cost: q.cost, Opportunistic: q.opportunistic, Follows: q.follows, Older: older, Demand: demand,
		Outcome: func(p budget.Permit) budget.PermitOutcome {
			switch {
			case p.Claim != q.requester:
				return d.outcomes[p.Claim]
			// Calls that create a listener may have been made and have failed.
			case q.permitUsed, p.Connects():
				return budget.PermitUsed
			}
			return budget.PermitUnused
		},
	})
	q.wait = wait
	if wait == 0 {
		d.state, d.elapsed, d.changed = next, 0, true
	}
}

func (d *decision) reportThrottling(q *request) {
	next, verdict := budget.Throttled(d.state, d.limits, d.elapsed, d.queue.demand(d.state), budget.Report{
		Claim: q.requester, Started: q.started, Outcome: func(p budget.Permit) budget.PermitOutcome { return d.outcomes[p.Claim] },
	})
	q.believed = verdict != budget.Ignored
	if verdict != budget.Believed {
		return
	}
	if next.Speed() < d.state.Speed() {
		d.Log.WarnContext(q.ctx, "AWS throttled calls; slowing down", "requester", q.requester, "calls", q.throttled, "speed", next.Speed())
	}
	d.state, d.elapsed, d.changed = next, 0, true
}
