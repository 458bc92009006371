package pacer

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// queue is what waits for AWS calls, as far as the cache and the batch show it.
type queue struct {
	// creates are the claims that have ports to bind and the claims of the batch,
	// oldest first.
	creates []waitingCreate
	deletes int
	// exhausted is true if a claim waits for a free port.
	exhausted bool
}

// waitingCreate is one claim in the queue.
type waitingCreate struct {
	claim     string
	class     budget.Class
	createdAt time.Time
	// costs are those of all calls it still has to make.
	costs costs
	// requests are the claim's requests in the present batch.
	requests []*request
}

// buildQueue adds the cache to the batch: the claims with an unbound port. A claim whose agent
// is silent for two renewals is left out: its agent may be dead, and then the janitor takes
// over.
func (p *Pacer) buildQueue(batch []*request) queue {
	var q queue
	inBatch := make(map[string][]*request) // by claim
	for _, r := range batch {
		switch r.class {
		case budget.Create, budget.Retry:
			inBatch[r.requester] = append(inBatch[r.requester], r)
		case budget.Delete:
			q.deletes++
		case budget.Describe, throttlingReport:
		}
	}
	for claim, requests := range inBatch {
		q.creates = append(q.creates, waitingCreate{claim, requests[0].class, requests[0].createdAt, requests[0].costs, requests})
	}
	q.deletes = max(q.deletes, len(p.Ports.CachedBy(ledger.ReleasingPorts)))
	q.exhausted = len(p.Claims.CachedBy(ledger.PortlessClaims)) > 0
	holders := p.holders()
	q.creates = slices.Grow(q.creates, len(holders))
	for _, h := range holders {
		r, exists := p.Claims.Cached(h.claim)
		if !exists || inBatch[r.Name] != nil {
			continue
		}
		silent := p.Age(r.Name, r.Version) >= 2*p.RenewEvery
		if r.Value.State != ledger.Granted || silent || r.Value.Retries.Paused() {
			continue
		}
		if h.version != r.Version {
			h.version, h.costs = r.Version, p.remainingCosts(r)
		}
		q.creates = append(q.creates, waitingCreate{claim: r.Name, class: p.createClass(r), createdAt: r.CreatedAt, costs: h.costs})
	}
	slices.SortFunc(q.creates, func(a, b waitingCreate) int {
		// A claim whose attempts fail comes after all others: "create" is before "retry".
		return cmp.Or(cmp.Compare(a.class, b.class), a.createdAt.Compare(b.createdAt), strings.Compare(a.claim, b.claim))
	})
	return q
}

// unboundHolders are the claims with an unbound port, as of some state of the cache.
type unboundHolders struct {
	ports []*ledger.Record[ledger.Port]
	at    time.Time
	all   []*unboundHolder
}

// unboundHolder is one of them, with what its calls cost as of a version of its claim.
type unboundHolder struct {
	claim, version string
	costs          costs
}

// rememberHolders bounds for how long the holders are remembered, because a lost port lease
// changes the costs of its claim and no unbound port.
const rememberHolders = time.Second

// holders gives the claims with an unbound port, oldest port first. When a fleet starts,
// thousands wait and each asks now and then, so they are remembered until an unbound port
// changes.
func (p *Pacer) holders() []*unboundHolder {
	ports, now := p.Ports.CachedBy(ledger.UnboundPorts), p.Now()
	if age := now.Sub(p.unbound.at); ledger.Same(ports, p.unbound.ports) && age >= 0 && age < rememberHolders {
		return p.unbound.all
	}
	known := make(map[string]bool, len(ports))
	all := make([]*unboundHolder, 0, len(ports))
	for _, port := range ports {
		if claim := port.Value.Holder; !known[claim] {
			known[claim] = true
			all = append(all, &unboundHolder{claim: claim})
		}
	}
	p.unbound = unboundHolders{ports, now, all}
	return all
}

// remainingCosts are those of the calls that bind the claim's ports.
func (p *Pacer) remainingCosts(claim ledger.Record[ledger.Claim]) costs {
	var ports []ledger.Port
	for _, planned := range claim.Value.Ports {
		port, _ := p.Ports.Cached(planned.Fence.Lease)
		if !port.Value.Holds(claim.Name, planned.Fence) {
			port.Value = ledger.Port{}
		}
		ports = append(ports, port.Value)
	}
	return costOf(claim.Value, ports)
}

// before is what the claim adds to the cost of the older creates that younger ones wait for.
// A claim whose target groups are all there holds up nobody until it asks: its listeners are
// due within seconds, and the target group of a younger one has to wait as long again.
func (w waitingCreate) before() budget.Tokens {
	if len(w.requests) == 0 && w.costs.create == (budget.Tokens{}) {
		return budget.Tokens{}
	}
	return w.costs.all()
}

// demand is the queue without the creates that have a permit.
func (q queue) demand(s budget.State) budget.Demand {
	d := budget.Demand{Deletes: q.deletes, Exhausted: q.exhausted}
	for _, w := range q.creates {
		switch {
		case s.HasPermit(w.claim):
		case w.class == budget.Retry:
			d.Retries = d.Retries.Plus(w.costs.all())
		default:
			d.Creates = d.Creates.Plus(w.costs.all())
		}
	}
	return d
}
