package pacer

import (
	"context"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// throttlingReport is the class of a request that reserves nothing.
const throttlingReport budget.Class = "report"

// request is one caller that waits for a reply.
type request struct {
	ctx   context.Context
	class budget.Class
	// requester is a claim lease or port lease; empty for the allocator itself.
	requester string
	// createdAt puts creates in order.
	createdAt time.Time
	cost      budget.Tokens
	// costs are all of a create; cost is that of the next calls.
	costs costs
	// opportunistic requests are granted only while the buckets are nearly full.
	opportunistic bool
	// follows marks Describe calls of a replica that does not lead.
	follows bool
	// throttled is how many calls AWS has throttled since the requester's last report.
	throttled int
	// started is true if the requester has a target group recorded whose listener is not.
	started bool
	// believed is whether the report of throttled calls counts.
	believed bool
	// permitUsed is true if the requester has no target group left to create.
	permitUsed bool

	// wait is the decision: 0 if the request is granted.
	wait  time.Duration
	reply chan reply
}

type reply struct {
	wait time.Duration
	err  error
}

// Bind reserves the next calls that bind a claim's ports: the creation of all target groups
// that are missing, or else of the listeners. Listeners come seconds later, and their calls
// are reserved only then. ports are the records of the claim's plan, in its order. If wait is
// 0 the calls are granted: make them now. Otherwise ask again after that time, and renew the
// claim meanwhile, or it loses its place in the queue. throttled is how many of the agent's
// calls AWS has throttled since its last report.
func (p *Pacer) Bind(ctx context.Context, claim ledger.Record[ledger.Claim], ports []ledger.Port, throttled int) (wait time.Duration, err error) {
	q := &request{class: budget.Create, requester: claim.Name, createdAt: claim.CreatedAt, throttled: throttled}
	q.costs = costOf(claim.Value, ports)
	q.cost, q.started, q.permitUsed = q.costs.next(), q.costs.started, q.costs.create == budget.Tokens{}
	if claim.Value.Retries.Paused() && q.cost.Mutating > 0 { // or the agent only checks its bindings
		return p.RenewEvery, nil
	}
	q.class = p.createClass(claim)
	wait, err = p.do(ctx, q)
	if err == nil && wait == 0 {
		p.granted(claim.Name)
	}
	return min(wait, p.RenewEvery), err
}

// createClass is the class of the calls that bind a claim's ports.
func (p *Pacer) createClass(claim ledger.Record[ledger.Claim]) budget.Class {
	p.mu.Lock()
	defer p.mu.Unlock()
	return classOf(claim.Value, p.frequent.asksTooOften(claim.Name, p.Now()))
}

// classOf is that of a claim that may have been granted calls too often lately.
func classOf(claim ledger.Claim, tooOften bool) budget.Class {
	if claim.Retries.Failing || tooOften {
		return budget.Retry
	}
	return budget.Create
}

// askTooOften gives the claims that were granted calls too often lately.
func (p *Pacer) askTooOften(now time.Time) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frequent.tooOften(now)
}

func (p *Pacer) granted(claim string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frequent.granted(claim, p.Now())
}

// Delete reserves up to that many deletions of listeners and target groups, all in one
// decision. It returns how many may be made now, and how long it may take until there are
// more. requester is a port lease or an ARN.
func (p *Pacer) Delete(ctx context.Context, requester string, deletions int) (granted int, wait time.Duration, err error) {
	requests := make([]*request, deletions)
	for i := range requests {
		requests[i] = &request{class: budget.Delete, requester: requester, cost: budget.DeletionCost}
	}
	for _, q := range p.enqueue(ctx, requests...) {
		w, err := p.await(q)
		switch {
		case err != nil:
			return granted, 0, err
		case w == 0:
			granted++
		case wait == 0:
			wait = w
		}
	}
	return granted, wait, nil
}

// TryOpportunistic reserves the calls with which an agent deregisters its targets and
// deletes its bindings, and the janitor confirms that. The janitor alone needs fewer
// calls, so this is granted only while the budget is full. When many pods stop together,
// their ports are free sooner without the agents.
func (p *Pacer) TryOpportunistic(ctx context.Context, claim string, bindings int) (granted bool, err error) {
	cost := budget.OpportunisticCost.Plus(budget.DeregisterCost)
	wait, err := p.do(ctx, &request{class: budget.Delete, opportunistic: true, requester: claim, cost: cost.Times(float64(bindings))})
	return err == nil && wait == 0, err
}

// Deregister reserves the calls that deregister the targets of that many bindings, and the
// Describe calls before them. They need nothing of the mutating bucket, so deletions and
// creates do not delay them. If granted is false, ask again.
func (p *Pacer) Deregister(ctx context.Context, requester string, bindings, describes int) (granted bool, err error) {
	cost := budget.DeregisterCost.Times(float64(bindings)).Plus(budget.DescribeCost.Times(float64(describes)))
	wait, err := p.do(ctx, &request{class: budget.Delete, requester: requester, cost: cost})
	return err == nil && wait == 0, err
}

// maxDescribeWait bounds the time between two attempts of WaitForDescribe.
const maxDescribeWait = time.Second

// WaitForDescribe waits until one Describe call is granted, or ctx ends. While follows
// returns true, the call leaves half of the buckets to others; nil means never.
func (p *Pacer) WaitForDescribe(ctx context.Context, follows func() bool) error {
	for {
		wait, err := p.do(ctx, &request{class: budget.Describe, cost: budget.DescribeCost, follows: follows != nil && follows()})
		if err != nil || wait == 0 {
			return err
		}
		timer := time.NewTimer(min(wait, maxDescribeWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// ReserveDescribes reserves up to the given number of Describe calls. granted calls
// may be made now. If granted is 0, ask again after wait.
func (p *Pacer) ReserveDescribes(ctx context.Context, calls int) (granted int, wait time.Duration, err error) {
	n := min(calls, p.Limits().MaxDescribes())
	wait, err = p.do(ctx, &request{class: budget.Describe, cost: budget.DescribeCost.Times(float64(n))})
	if err != nil || wait > 0 {
		return 0, wait, err
	}
	return n, 0, nil
}

// TryDescribes reserves Describe calls while the budget is full, so that nobody else waits
// for them.
func (p *Pacer) TryDescribes(ctx context.Context, calls int) (granted bool, err error) {
	wait, err := p.do(ctx, &request{class: budget.Describe, opportunistic: true, cost: budget.DescribeCost.Times(float64(calls))})
	return err == nil && wait == 0, err
}

// Throttled reports calls that AWS has throttled, so that all replicas slow down. claim
// is the claim lease whose agent reports; empty for the allocator's own calls. A claim is
// believed only while it has a permit.
func (p *Pacer) Throttled(ctx context.Context, claim string, calls int) error {
	if calls <= 0 {
		return nil
	}
	_, err := p.do(ctx, &request{class: throttlingReport, requester: claim, throttled: calls})
	return err
}
