package pacer

import (
	"slices"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// queue is what waits for AWS calls, as far as the cache and the batch show it.
type queue struct {
	// creates are the claims of the line and of the batch, oldest first.
	creates []*waitingCreate
	// asking are the claims of the batch.
	asking map[string]*waitingCreate
	line   *line
	// first and retries are the costs of all creates, by class.
	first, retries budget.Tokens
	deletes        int
	// exhausted is true if a claim waits for a free port.
	exhausted bool
}

// buildQueue adds the line to the batch. A claim whose agent is silent is left out. What a
// request says of a claim is newer than the line.
func (p *Pacer) buildQueue(batch []*request) queue {
	p.follow()
	q := queue{asking: make(map[string]*waitingCreate), line: &p.line}
	for _, r := range batch {
		switch r.class {
		case budget.Create, budget.Retry:
			w := q.asking[r.requester]
			if w == nil {
				w = newWaiting(r.requester, r.createdAt, r.costs, true)
				w.class = r.class
				q.asking[r.requester] = w
			}
			w.requests = append(w.requests, r)
		case budget.Delete:
			q.deletes++
		case budget.Describe, throttlingReport:
		}
	}
	q.deletes = max(q.deletes, len(p.Ports.CachedBy(ledger.ReleasingPorts)))
	q.exhausted = len(p.Claims.CachedBy(ledger.PortlessClaims)) > 0
	q.creates = p.present(q.asking)
	for _, w := range q.asking {
		at, _ := slices.BinarySearchFunc(q.creates, w, byAge)
		q.creates = slices.Insert(q.creates, at, w)
	}
	for _, w := range q.creates {
		if w.class == budget.Retry {
			q.retries = q.retries.Plus(w.cost)
		} else {
			q.first = q.first.Plus(w.cost)
		}
	}
	return q
}

// present are the claims of the line whose agents live, without those that are asking.
func (p *Pacer) present(asking map[string]*waitingCreate) []*waitingCreate {
	for claim := range asking {
		if w := p.line.byClaim[claim]; w != nil {
			w.asks = true
		}
	}
	now := p.Now()
	often := p.askTooOften(now)
	present := make([]*waitingCreate, 0, len(p.line.oldestFirst)+len(asking))
	for _, w := range p.line.oldestFirst {
		switch {
		case w.asks:
			w.asks = false
		case !p.isSilent(w, now):
			w.class = classOf(w.record.Value, often[w.claim])
			present = append(present, w)
		}
	}
	return present
}

// permitted gives the claims of the queue that have a permit.
func (q queue) permitted(s budget.State) []*waitingCreate {
	var permitted []*waitingCreate
	for _, permit := range s.Permits {
		w := q.asking[permit.Claim]
		if w == nil {
			w = q.line.byClaim[permit.Claim]
		}
		if w != nil && !w.silent {
			permitted = append(permitted, w)
		}
	}
	return permitted
}

// demand is the queue without the creates that have a permit.
func (q queue) demand(s budget.State) budget.Demand {
	d := budget.Demand{Creates: q.first, Retries: q.retries, Deletes: q.deletes, Exhausted: q.exhausted}
	for _, w := range q.permitted(s) {
		if w.class == budget.Retry {
			d.Retries = d.Retries.Minus(w.cost)
		} else {
			d.Creates = d.Creates.Minus(w.cost)
		}
	}
	return d
}

// olderThan is the cost of the older creates of the same class that the claim waits for, of
// all that are older: those without a permit.
func (q queue) olderThan(w *waitingCreate, all budget.Tokens, s budget.State) budget.Tokens {
	for _, o := range q.permitted(s) {
		if o.class == w.class && byAge(o, w) < 0 {
			all = all.Minus(o.before)
		}
	}
	return all
}
