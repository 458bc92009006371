package pacer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// line is who waits, as the view has it.
type line struct {
	// creates has the claims that still have to be bound, oldest first, and those
	// that ask.
	creates   []waiting
	deletes   int
	exhausted bool
}

// waiting is one claim in the line.
type waiting struct {
	who       string
	createdAt time.Time
	cost      budget.Tokens
	// asks are its asks in the present batch.
	asks []*ask
}

func createCost(p ledger.PlannedPort) budget.Tokens {
	if len(p.Attributes) > 0 {
		return budget.CreateCost.Plus(budget.AttributesCost)
	}
	return budget.CreateCost
}

// line reads the view. A claim that was not heard of for long does not count: its
// agent may be dead, and its pod is the janitor's business.
func (p *Pacer) line(batch []*ask) line {
	asking := make(map[string][]*ask)
	var l line
	for _, a := range batch {
		switch a.class {
		case budget.Create:
			asking[a.who] = append(asking[a.who], a)
		case budget.Delete:
			l.deletes++
		case budget.Describe, report:
		}
	}
	for who, asks := range asking {
		l.creates = append(l.creates, waiting{who, asks[0].createdAt, asks[0].cost, asks})
	}
	ports := make(map[string]ledger.Port)
	releasing := 0
	for _, r := range p.Ports.CachedAll() {
		ports[r.Name] = r.Value
		if r.Value.State == ledger.Releasing {
			releasing++
		}
	}
	l.deletes = max(l.deletes, releasing)
	for _, r := range p.Claims.CachedAll() {
		l.exhausted = l.exhausted || r.Value.State == ledger.Waiting && len(r.Value.Ports) == 0
		if r.Value.State != ledger.Granted || asking[r.Name] != nil || p.Age(r.Name, r.Version) >= 2*p.RenewEvery {
			continue
		}
		var cost budget.Tokens
		for _, planned := range r.Value.Ports {
			if port := ports[planned.Fence.Lease]; !port.Holds(r.Name, planned.Fence) || port.TargetGroupARN == "" {
				cost = cost.Plus(createCost(planned))
			}
		}
		if cost != (budget.Tokens{}) {
			l.creates = append(l.creates, waiting{who: r.Name, createdAt: r.CreatedAt, cost: cost})
		}
	}
	slices.SortFunc(l.creates, func(a, b waiting) int {
		return cmp.Or(a.createdAt.Compare(b.createdAt), strings.Compare(a.who, b.who))
	})
	return l
}

func (l line) demand(s budget.State) budget.Demand {
	d := budget.Demand{Deletes: l.deletes, Exhausted: l.exhausted}
	for _, w := range l.creates {
		if !s.HasPermit(w.who) {
			d.Creates = d.Creates.Plus(w.cost)
		}
	}
	return d
}

// fates tells what became of those who were let go, where anything did. That a
// claim is over is believed only by a consistent read.
func (p *Pacer) fates(ctx context.Context, s budget.State) (map[string]budget.Fate, error) {
	fates := make(map[string]budget.Fate)
	for _, permit := range s.Open {
		r, seen := p.Claims.Cached(permit.Who)
		if !seen || r.Value.State == ledger.ClaimReleasing {
			var err error
			r, err = p.Claims.Get(ctx, permit.Who)
			switch {
			case errors.Is(err, ledger.ErrAbsent):
				fates[permit.Who] = budget.Gone
				continue
			case errors.Is(err, ledger.ErrUnreadable):
				continue
			case err != nil:
				return nil, err
			}
		}
		bound, all, err := p.traces(ctx, r)
		switch {
		case err != nil:
			return nil, err
		case r.Value.State == ledger.ClaimReleasing && !bound:
			fates[permit.Who] = budget.Gone
		case r.Value.State == ledger.ClaimReleasing || all:
			fates[permit.Who] = budget.Spent
		}
	}
	return fates, nil
}

// traces tells whether any, and whether all ports of a claim have a target group
// recorded. Of a claim that ends it is read consistently, because tokens come
// back by it.
func (p *Pacer) traces(ctx context.Context, r ledger.Record[ledger.Claim]) (bound, all bool, err error) {
	all = true
	for _, planned := range r.Value.Ports {
		port, _ := p.Ports.Cached(planned.Fence.Lease)
		if r.Value.State == ledger.ClaimReleasing {
			port, err = p.Ports.Get(ctx, planned.Fence.Lease)
			if err != nil && !errors.Is(err, ledger.ErrAbsent) && !errors.Is(err, ledger.ErrUnreadable) {
				return false, false, err
			}
		}
		// A holding that is over already went through unbinding, or never was.
		recorded := port.Value.Epoch == planned.Fence.Epoch && port.Value.Generation == planned.Fence.Generation && port.Value.TargetGroupARN != ""
		bound, all = bound || recorded, all && recorded
	}
	return bound, all, nil
}
