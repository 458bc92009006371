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
	cost      budget.Tokens
	// requests are the claim's requests in the present batch.
	requests []*request
}

// buildQueue adds the cache to the batch. A claim whose agent is silent for two
// renewals is left out: its agent may be dead, and then the janitor takes over.
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
		q.creates = append(q.creates, waitingCreate{claim, requests[0].class, requests[0].createdAt, requests[0].cost, requests})
	}
	ports := make(map[string]ledger.Port)
	releasing := 0
	for _, r := range p.Ports.CachedAll() {
		ports[r.Name] = r.Value
		if r.Value.State == ledger.Releasing {
			releasing++
		}
	}
	q.deletes = max(q.deletes, releasing)
	for _, r := range p.Claims.CachedAll() {
		q.exhausted = q.exhausted || r.Value.State == ledger.Waiting && len(r.Value.Ports) == 0
		silent := p.Age(r.Name, r.Version) >= 2*p.RenewEvery
		if r.Value.State != ledger.Granted || inBatch[r.Name] != nil || silent || r.Value.Retries.Paused() {
			continue
		}
		if cost := remainingCost(r, ports); cost != (budget.Tokens{}) {
			q.creates = append(q.creates, waitingCreate{claim: r.Name, class: p.createClass(r), createdAt: r.CreatedAt, cost: cost})
		}
	}
	slices.SortFunc(q.creates, func(a, b waitingCreate) int {
		// A claim whose attempts fail comes after all others: "create" is before "retry".
		return cmp.Or(cmp.Compare(a.class, b.class), a.createdAt.Compare(b.createdAt), strings.Compare(a.claim, b.claim))
	})
	return q
}

// remainingCost is the cost of the claim's ports that have no target group recorded.
func remainingCost(claim ledger.Record[ledger.Claim], ports map[string]ledger.Port) (cost budget.Tokens) {
	for _, planned := range claim.Value.Ports {
		if port := ports[planned.Fence.Lease]; !port.Holds(claim.Name, planned.Fence) || port.TargetGroupARN == "" {
			cost = cost.Plus(createCost(planned))
		}
	}
	return cost
}

// demand is the queue without the creates that have a permit.
func (q queue) demand(s budget.State) budget.Demand {
	d := budget.Demand{Deletes: q.deletes, Exhausted: q.exhausted}
	for _, w := range q.creates {
		switch {
		case s.HasPermit(w.claim):
		case w.class == budget.Retry:
			d.Retries = d.Retries.Plus(w.cost)
		default:
			d.Creates = d.Creates.Plus(w.cost)
		}
	}
	return d
}
