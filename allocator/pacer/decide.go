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
	// writeTimeout bounds one decision, so that a hanging API server holds up those
	// who come later no longer than this.
	writeTimeout = 10 * time.Second
	// rounds is how often a decision starts over after losing a compare-and-swap.
	// All replicas write this one record, and a conflict means that one of them got
	// through.
	rounds = 50
)

var errCrowded = errors.New("too many others write the AWS budget at this moment")

// decide answers all of a batch.
func (p *Pacer) decide(batch []*ask) {
	batch = slices.DeleteFunc(batch, func(a *ask) bool { return a.ctx.Err() != nil })
	if len(batch) == 0 {
		return
	}
	// One caller's being gone must not fail the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), writeTimeout)
	defer cancel()
	waits, err := p.settle(ctx, batch)
	for i, a := range batch {
		if err != nil {
			p.Count(string(a.class), Failed)
			a.answer <- answer{err: fmt.Errorf("asking the AWS budget: %w", err)}
			continue
		}
		outcome := Granted
		if waits[i] > 0 {
			outcome = Wait
		}
		p.Count(string(a.class), outcome)
		a.answer <- answer{wait: waits[i]}
	}
}

// settle decides on the newest version of the record and writes what changed.
func (p *Pacer) settle(ctx context.Context, batch []*ask) ([]time.Duration, error) {
	r, err := p.record(ctx)
	for range rounds {
		if err != nil {
			return nil, err
		}
		now := p.Now()
		p.saw(r, now)
		fates, err := p.fates(ctx, r.Value.State)
		if err != nil {
			return nil, err
		}
		d := decision{Pacer: p, queue: p.line(batch), fates: fates, limits: p.Limits(), state: r.Value.State, elapsed: p.elapsed(r.Value.State, now)}
		waits := d.run(batch)
		if !d.changed {
			return waits, nil
		}
		r.Value.State, r.Value.UpdatedAt = d.state, now
		written, err := p.Budgets.Update(ctx, r)
		if err == nil {
			p.wrote(written, now)
			return waits, nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return nil, err
		}
		p.Count("write", Conflict)
		r, err = p.read(ctx)
		if err != nil {
			return nil, err
		}
	}
	return nil, errCrowded
}

// record is the budget as it is in the view, or else as it is.
func (p *Pacer) record(ctx context.Context) (ledger.Record[ledger.Budget], error) {
	if r, ok := p.Budgets.Cached(ledger.BudgetName); ok {
		return r, nil
	}
	return p.read(ctx)
}

// read reads the budget consistently and makes it if there is none. One that
// cannot be read is begun anew, empty, like one that was lost.
func (p *Pacer) read(ctx context.Context) (ledger.Record[ledger.Budget], error) {
	for range rounds {
		r, err := p.Budgets.Get(ctx, ledger.BudgetName)
		if errors.Is(err, ledger.ErrUnreadable) {
			p.Log.WarnContext(ctx, "AWS budget begun anew because its record cannot be read", "lease", ledger.BudgetName, "err", err)
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
	return ledger.Record[ledger.Budget]{}, errCrowded
}

// decision is one pass over all who ask.
type decision struct {
	*Pacer
	queue   line
	fates   map[string]budget.Fate
	limits  budget.Limits
	state   budget.State
	elapsed time.Duration
	changed bool
}

// run decides for each of a batch, in the order of the classes and, of creates,
// of age; waits are in the order of the batch.
func (d *decision) run(batch []*ask) []time.Duration {
	waits := make(map[*ask]time.Duration)
	for _, a := range batch {
		if a.throttled > 0 {
			d.report(a)
		}
	}
	demand := d.queue.demand(d.state)
	var ahead budget.Tokens
	for _, w := range d.queue.creates {
		paid := d.state.HasPermit(w.who)
		for _, a := range w.asks {
			waits[a] = d.take(a, ahead, demand)
		}
		if paid = paid || d.state.HasPermit(w.who); !paid {
			ahead = ahead.Plus(w.cost)
		}
	}
	for _, class := range []budget.Class{budget.Delete, budget.Describe} {
		demand = d.queue.demand(d.state)
		for _, a := range batch {
			if a.class == class {
				waits[a] = d.take(a, budget.Tokens{}, demand)
			}
		}
	}
	ordered := make([]time.Duration, len(batch))
	for i, a := range batch {
		ordered[i] = waits[a]
	}
	return ordered
}

func (d *decision) take(a *ask, ahead budget.Tokens, demand budget.Demand) time.Duration {
	next, wait := budget.Take(d.state, d.limits, d.elapsed, budget.Ask{
		Who: a.who, Class: a.class, Cost: a.cost, Idle: a.idle, Ahead: ahead, Demand: demand,
		Fate: func(who string) budget.Fate {
			if who == a.who {
				return fateOf(a.spent)
			}
			if fate, known := d.fates[who]; known {
				return fate
			}
			return budget.Pending
		},
	})
	if wait == 0 {
		d.state, d.elapsed, d.changed = next, 0, true
	}
	return wait
}

func (d *decision) report(a *ask) {
	next, changed := budget.Throttled(d.state, d.limits, d.elapsed, d.queue.demand(d.state), a.who)
	if changed {
		if next.Speed() < d.state.Speed() {
			d.Log.WarnContext(a.ctx, "AWS throttles: everybody slows down", "who", a.who, "calls", a.throttled, "speed", next.Speed())
		}
		d.state, d.elapsed, d.changed = next, 0, true
	}
}

func fateOf(spent bool) budget.Fate {
	if spent {
		return budget.Spent
	}
	return budget.Pending
}
