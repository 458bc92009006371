package claim

import (
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
)

// newPortsFactor is how many times as many leases as listeners a load balancer may have
// before ports without a lease are chosen last, so that a wide range does not fill the
// ledger.
const newPortsFactor = 2

// stocks remembers the stock of load balancers for pods that had no port there, as long as
// nothing has changed. So a claim costs the work of the few load balancers that have.
type stocks struct {
	mu   sync.Mutex
	last map[stockKey]keptStock
}

type stockKey struct{ pool, arn string }

// keptStock is a stock with all that it was made of.
type keptStock struct {
	pool.Stock
	lb     pool.LoadBalancer
	sticky time.Duration
	leases []*ledger.Record[ledger.Port]
	// until is when the first avoided port no longer is; zero if there is none.
	until time.Time
}

func (r keptStock) madeOf(lb *pool.LoadBalancer, sticky time.Duration, leases []*ledger.Record[ledger.Port], now time.Time) bool {
	return ledger.Same(r.leases, leases) && ledger.Same(r.lb.Listed, lb.Listed) && ledger.Same(r.lb.Ranges, lb.Ranges) && r.lb.Limit == lb.Limit &&
		r.sticky == sticky && (r.until.IsZero() || now.Before(r.until))
}

// special has the IDs of the load balancers whose stock is another one for this claim.
func (now situation) special(excluded leaseSet) map[string]bool {
	c, ids := now.claim.Value, make(map[string]bool)
	for _, p := range now.ports.CachedBy(ledger.PortsOfPod(c.Namespace, c.Pod)) {
		ids[ledger.LoadBalancerID(p.Value.LoadBalancerARN)] = true
	}
	for lease := range excluded {
		if id, _, ok := ledger.SplitPortName(lease); ok {
			ids[id] = true
		}
	}
	return ids
}

// stock returns the ports of a load balancer from which the claim may choose.
func (now situation) stock(lb *pool.LoadBalancer, special map[string]bool, excluded leaseSet) pool.Stock {
	id := ledger.LoadBalancerID(lb.ARN)
	leases := now.ports.CachedBy(ledger.PortsOf(id))
	if now.stocks == nil || special[id] {
		c, _ := now.candidate(lb, leases, excluded)
		return c.Stock()
	}
	key := stockKey{now.pool.Name, lb.ARN}
	now.stocks.mu.Lock()
	defer now.stocks.mu.Unlock()
	last, exists := now.stocks.last[key]
	if !exists || !last.madeOf(lb, now.pool.Terms.Sticky, leases, now.time) {
		c, until := now.candidate(lb, leases, nil)
		last = keptStock{c.Stock(), *lb, now.pool.Terms.Sticky, leases, until}
		if now.stocks.last == nil {
			now.stocks.last = make(map[stockKey]keptStock)
		}
		now.stocks.last[key] = last
	}
	return last.Stock
}

// candidate describes the ports of a load balancer to this claim. until is when the first
// avoided port no longer is; zero if there is none.
func (now situation) candidate(lb *pool.LoadBalancer, leases []*ledger.Record[ledger.Port], excluded leaseSet) (c pool.Candidate, until time.Time) {
	c = pool.Candidate{
		ARN: lb.ARN, Ranges: lb.Ranges, Limit: lb.Limit,
		Taken: make(map[int]bool), Preferred: make(map[int]bool), Avoided: make(map[int]bool), Known: make(map[int]bool),
	}
	listeners := make(map[int]bool)
	for port := range lb.Occupied(ledger.Knows(now.ports.Cached)) {
		c.Taken[port], listeners[port] = true, true
	}
	for _, lease := range leases {
		v := &lease.Value
		_, port, _ := ledger.SplitPortName(lease.Name) // the cache has nothing else of one that cannot be read
		c.Known[port] = true
		switch {
		case !available(*v, now.claim.Value):
			c.Taken[port] = true
		case v.Namespace == now.claim.Value.Namespace && v.Pod == now.claim.Value.Pod:
			c.Preferred[port] = true
		case v.Pod != "":
			if left := now.pool.Terms.Sticky - now.age(lease.Name, lease.Version); left > 0 {
				c.Avoided[port] = true
				if end := now.time.Add(left); until.IsZero() || end.Before(until) {
					until = end
				}
			}
		}
		if v.Held() || v.Foreign != "" {
			listeners[port] = true
		}
	}
	for lease := range excluded {
		if id, port, ok := ledger.SplitPortName(lease); ok && id == ledger.LoadBalancerID(lb.ARN) {
			c.Taken[port] = true
		}
	}
	if len(leases) < newPortsFactor*lb.Limit {
		c.Known = nil
	}
	c.Listeners = len(listeners)
	return c, until
}
