// Package pacer lets agents, janitor and inventory call AWS in an order that fits
// the account's token buckets.
//
// Package budget decides; here is the loop around it: read the budget's Lease,
// decide, write by compare-and-swap, again if somebody was faster. All who ask
// one replica at the same time are decided together in one write. The view may
// be late; what is taken is taken only by a write on the newest version, so the
// buckets are never overdrawn, and a late view costs somebody's place in the
// queue at most.
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
	// Limits are the account's, or the share of them that may be used.
	Limits func() budget.Limits
	// Now must have a monotonic reading.
	Now func() time.Time
	// RenewEvery is how often a claim changes while its agent lives. Nobody is told
	// to wait longer, and who was not heard of for twice that time is not waited
	// for.
	RenewEvery time.Duration
	// Age is for how long this process has seen a claim unchanged.
	Age func(name, version string) time.Duration
	Log *slog.Logger
	// Count counts asks by class and by what came of them, for metrics.
	Count func(class, outcome string)
}

// Outcomes of an ask, for Count.
const (
	Granted  = "granted"
	Wait     = "wait"
	Failed   = "failed"
	Conflict = "conflict"
)

// report is the class of an ask that wants nothing.
const report budget.Class = "report"

// Pacer paces for one replica. It is safe for concurrent use.
type Pacer struct {
	Config
	start time.Time

	mu sync.Mutex // guards all below
	// uid and version are those of the Lease that clock was last told of.
	uid, version string
	clock        budget.Clock
	// queue has who is to be decided next; serving is whether anybody decides.
	queue   []*ask
	serving bool
}

// New makes a Pacer that has seen nothing.
func New(c Config) *Pacer { return &Pacer{Config: c, start: c.Now()} }

// ask is one caller that waits for an answer.
type ask struct {
	ctx       context.Context
	class     budget.Class
	who       string
	createdAt time.Time
	cost      budget.Tokens
	// idle asks only for what nobody misses.
	idle bool
	// throttled is how many calls AWS refused who since its last report.
	throttled int
	// spent is whether who has used what it was given before.
	spent  bool
	answer chan answer
}

type answer struct {
	wait time.Duration
	err  error
}

// Observe is to be called whenever the view may have changed, and must see a
// change soon: what passes before it is seen may be lost.
func (p *Pacer) Observe() {
	if r, ok := p.Budgets.Cached(ledger.BudgetName); ok {
		p.saw(r, p.Now())
	}
}

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

// wrote notes a version that this process wrote, as of before it sent it.
func (p *Pacer) wrote(r ledger.Record[ledger.Budget], sent time.Time) {
	current, ok := p.Budgets.Cached(ledger.BudgetName)
	if !ok || current.Version != r.Version {
		return // there is a newer one
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.UID != p.uid {
		p.uid, p.clock = r.UID, budget.Clock{}
	}
	p.version = r.Version
	p.clock.Saw(r.Value.Counted, sent.Sub(p.start))
}

func (p *Pacer) elapsed(s budget.State, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock.Elapsed(s.Counted, now.Sub(p.start))
}

// Bind asks for the calls that binding a claim's ports takes; ports are the
// records of the claim's plan, in its order. Zero: they are paid for, bind now.
// More: ask again after that time, and let the claim's record change meanwhile as
// a renewal does, because who is not heard of loses its place. throttled is how
// many calls AWS refused the agent since it last said so.
func (p *Pacer) Bind(ctx context.Context, claim ledger.Record[ledger.Claim], ports []ledger.Port, throttled int) (wait time.Duration, err error) {
	a := &ask{class: budget.Create, who: claim.Name, createdAt: claim.CreatedAt, throttled: throttled}
	a.spent = true
	for i, planned := range claim.Value.Ports {
		var port ledger.Port
		if i < len(ports) {
			port = ports[i]
		}
		if port.State == ledger.Bound {
			a.cost = a.cost.Plus(budget.CheckCost)
			continue
		}
		a.cost = a.cost.Plus(createCost(planned))
		a.spent = a.spent && port.TargetGroupARN != ""
	}
	wait, err = p.do(ctx, a)
	return min(wait, p.RenewEvery), err
}

// Unbind asks for the calls that deleting a port's binding takes. false: not now,
// ask again with the next sweep. Each try is paid for anew.
func (p *Pacer) Unbind(ctx context.Context, portLease string) (now bool, err error) {
	wait, err := p.do(ctx, &ask{class: budget.Delete, who: portLease, cost: budget.DeleteCost})
	return err == nil && wait == 0, err
}

// TryOpportunistic asks for the calls that an agent's deleting so many bindings takes, after
// deregistering their targets if it wants to, and the janitor's confirming it. That
// is more than the janitor alone needs, so agents may only while nobody misses it:
// many that stop together are released sooner without them.
func (p *Pacer) TryOpportunistic(ctx context.Context, claim string, bindings int, deregister bool) (now bool, err error) {
	cost := budget.OpportunisticCost
	if deregister {
		cost = cost.Plus(budget.DeregisterCost)
	}
	wait, err := p.do(ctx, &ask{class: budget.Delete, idle: true, who: claim, cost: cost.Times(float64(bindings))})
	return err == nil && wait == 0, err
}

// longestLook is how long to wait at most before looking at the buckets again.
const longestLook = time.Second

// WaitForDescribes waits until so many Describe calls are paid for, or ctx ends.
func (p *Pacer) WaitForDescribes(ctx context.Context, calls int) error {
	for calls > 0 {
		n := min(calls, p.Limits().DescribesAtOnce())
		wait, err := p.do(ctx, &ask{class: budget.Describe, cost: budget.DescribeCost.Times(float64(n))})
		if err != nil {
			return err
		}
		if wait == 0 {
			calls -= n
			continue
		}
		timer := time.NewTimer(min(wait, longestLook))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
	return nil
}

// ReserveDescribes asks for up to so many Describe calls without waiting for them: paid may
// be made now, and if that is none, wait is when to ask again.
func (p *Pacer) ReserveDescribes(ctx context.Context, calls int) (paid int, wait time.Duration, err error) {
	n := min(calls, p.Limits().DescribesAtOnce())
	wait, err = p.do(ctx, &ask{class: budget.Describe, cost: budget.DescribeCost.Times(float64(n))})
	if err != nil || wait > 0 {
		return 0, wait, err
	}
	return n, 0, nil
}

// Throttled reports calls that AWS refused as too many, so that everybody slows
// down.
func (p *Pacer) Throttled(ctx context.Context, calls int) error {
	if calls <= 0 {
		return nil
	}
	_, err := p.do(ctx, &ask{class: report, throttled: calls})
	return err
}

// Left is what the buckets hold now as far as this replica knows; false before it
// has seen them.
func (p *Pacer) Left() (budget.State, bool) {
	r, ok := p.Budgets.Cached(ledger.BudgetName)
	if !ok {
		return budget.State{}, false
	}
	p.saw(r, p.Now())
	return r.Value.After(p.Limits(), p.elapsed(r.Value.State, p.Now()), budget.Demand{}), true
}

// do puts an ask into the queue and waits for its answer.
func (p *Pacer) do(ctx context.Context, a *ask) (time.Duration, error) {
	a.ctx, a.answer = ctx, make(chan answer, 1)
	p.mu.Lock()
	p.queue = append(p.queue, a)
	if !p.serving {
		p.serving = true
		go p.serve()
	}
	p.mu.Unlock()
	select {
	case got := <-a.answer:
		return got.wait, got.err
	case <-ctx.Done():
		// Should the tokens be taken for it all the same: a create that asks again
		// has them, and anything else is few.
		return 0, context.Cause(ctx)
	}
}

// serve decides until nobody waits for a decision.
func (p *Pacer) serve() {
	for {
		p.mu.Lock()
		batch := p.queue
		p.queue = nil
		if len(batch) == 0 {
			p.serving = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		p.decide(batch)
	}
}
