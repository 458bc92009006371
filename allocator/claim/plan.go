package claim

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// situation is all that a plan depends on.
type situation struct {
	claim ledger.Record[ledger.Claim]
	pool  pool.Pool
	// excluded are port leases that the claim must not use.
	excluded leaseSet
	// ports and claims are what this process has seen of the ledger. They may change while
	// a plan is made: a plan that mixes two states of the ledger fails like one that is late.
	ports  view[ledger.Port]
	claims view[ledger.Claim]
	// age is how long this process has seen a lease unchanged.
	age func(name, version string) time.Duration
	// stocks is shared by all plans; nil remembers nothing.
	stocks *stocks
	time   time.Time
	// returnPatience is how long a pod waits for its previous port to be unbound.
	returnPatience time.Duration
	// duration is how long a claim lasts without a renewal, renewEvery how often agents
	// renew, and unbindEvery in what time the AWS budget lets a port come free.
	duration, renewEvery, unbindEvery time.Duration
	// epoch is for port leases that have none yet.
	epoch string
}

// view is the cache of a table.
type view[T any] interface {
	Cached(name string) (ledger.Record[T], bool)
	CachedBy(k ledger.Key) []*ledger.Record[T]
}

// situation gathers what a plan for a claim depends on.
func (s *Service) situation(r ledger.Record[ledger.Claim], excluded leaseSet) (situation, error) {
	from, known := s.Pools.Pool(r.Value.Pool)
	if !known {
		return situation{}, s.unknownPool(r.Value.Pool)
	}
	return situation{
		claim: r, pool: from, excluded: excluded, ports: s.Ports, claims: s.Claims, age: s.Age, stocks: &s.stocks, time: s.Now(),
		epoch: s.NewEpoch(), returnPatience: s.ReturnPatience, duration: s.Duration, renewEvery: s.RenewEvery, unbindEvery: s.UnbindEvery(),
	}, nil
}

// silentRenewals is how many times a waiting claim may fail to ask before it loses its
// place in the queue. It keeps the claim after that.
const silentRenewals = 2

// plan is what should become of a claim.
type plan struct {
	// claim is its next value; it is written only if changes is set.
	claim   ledger.Claim
	changes bool
	// refusal is the answer to the agent after that; nil if all ports are planned.
	refusal error
}

// makePlan chooses the ports of a claim and the fences they will have. It keeps what
// the claim has if the same load balancer can give the rest. If nothing fits, the
// claim waits without ports.
func makePlan(now situation) plan {
	c := now.claim.Value
	if port, found := now.returning(); found {
		return plan{refusal: api.Errorf(api.Pending, "port %d, which this pod had before, is still being unbound; ask again to get it back", port).WithRetryAfter(retrySoon)}
	}
	if now.pool.Unread && now.holdsElsewhere() {
		return plan{refusal: now.unread()} // its ports may be on the load balancer that is not read yet
	}
	if !c.Planned {
		c = now.remembered()
	}
	if next, fits := now.completed(c); fits {
		return plan{claim: next, changes: true}
	}
	if next, fits := now.chosen(c); fits {
		return plan{claim: next, changes: true}
	}
	if now.pool.Unread {
		return plan{refusal: now.unread()}
	}
	return now.withoutPorts()
}

// returning finds a port that this namespace/pod had before and that is still being
// unbound: by waiting for it the pod gets its address back.
func (now situation) returning() (listenerPort int, found bool) {
	c := now.claim.Value
	if len(c.Ports) > 0 || now.pool.Terms.Sticky == 0 {
		return 0, false
	}
	for _, p := range now.ports.CachedBy(ledger.PortsOfPod(c.Namespace, c.Pod)) {
		v := &p.Value
		if v.State != ledger.Releasing || v.PodUID == c.PodUID || now.age(p.Name, p.Version) >= now.returnPatience {
			continue
		}
		if lb, exists := now.pool.Find(v.LoadBalancerARN); exists && lb.Cordoned == "" {
			return v.ListenerPort, true
		}
	}
	return 0, false
}

// holdsElsewhere reports whether the claim holds ports on a load balancer that the
// pool does not show.
func (now situation) holdsElsewhere() bool {
	hidden := func(arn string) bool {
		_, shown := now.pool.Find(arn)
		return !shown
	}
	if len(now.claim.Value.Ports) > 0 && hidden(now.claim.Value.LoadBalancer.ARN) {
		return true
	}
	return slices.ContainsFunc(now.ports.CachedBy(ledger.PortsHeldBy(now.claim.Name)), func(p *ledger.Record[ledger.Port]) bool {
		return hidden(p.Value.LoadBalancerARN)
	})
}

func (now situation) unread() error {
	return api.Errorf(api.Pending, "the load balancers of pool %s are not all read from AWS yet", now.pool.Name).WithRetryAfter(retrySoon)
}

// remembered returns a claim without ports with those that its previous claim lease
// left behind: somebody deleted that lease while the agent restarted, and the pod
// should keep its address. A port with a foreign listener is not among them: another
// replica gave it up, and stopped before it was done.
func (now situation) remembered() ledger.Claim {
	c := now.claim.Value
	ports := make([]ledger.PlannedPort, len(c.Requested))
	for _, p := range now.ports.CachedBy(ledger.PortsHeldBy(now.claim.Name)) {
		v := &p.Value
		if v.State != ledger.Claimed && v.State != ledger.Bound || v.Foreign != "" {
			continue
		}
		i := slices.IndexFunc(c.Requested, func(r api.Port) bool { return r.Name == v.PortName })
		lb, exists := now.pool.Find(v.LoadBalancerARN)
		if i < 0 || !exists || c.LoadBalancer.ARN != "" && c.LoadBalancer.ARN != v.LoadBalancerARN {
			continue
		}
		c.LoadBalancer = lb.LoadBalancer
		ports[i] = now.planned(c.Requested[i], v.ListenerPort, v.Fence(p.Name))
	}
	if c.LoadBalancer.ARN != "" {
		c.Ports = ports
	}
	return c
}

// completed keeps the good ports of a claim and chooses the missing ones on the same
// load balancer. Older waiting claims do not go first: they hold nothing yet.
func (now situation) completed(c ledger.Claim) (next ledger.Claim, fits bool) {
	kept := make([]ledger.PlannedPort, len(c.Requested))
	used := now.excluded // the cache may be stale and show a kept port as free
	missing := len(c.Requested)
	for i, p := range c.Ports {
		if p.Fence.Lease != "" && !now.excluded.has(p) {
			kept[i] = p
			used = used.with(p.Fence.Lease)
			missing--
		}
	}
	if missing == len(c.Requested) {
		return c, false
	}
	lb, exists := now.pool.Find(c.LoadBalancer.ARN)
	if missing == 0 {
		if exists {
			c.LoadBalancer = lb.LoadBalancer
		}
		return now.filled(c, kept, nil), true
	}
	if !exists {
		return c, false
	}
	same := func(other *pool.LoadBalancer) bool { return other.ARN == lb.ARN }
	choice, err := now.choose(same, used, missing, nil)
	if err != nil {
		return c, false
	}
	c.LoadBalancer = lb.LoadBalancer
	return now.filled(c, kept, choice.Ports), true
}

// chosen chooses new ports for the whole claim, after those of older waiting claims.
func (now situation) chosen(c ledger.Claim) (next ledger.Claim, fits bool) {
	schedulable := func(lb *pool.LoadBalancer) bool { return lb.Cordoned == "" }
	choice, err := now.choose(schedulable, now.excluded, len(c.Requested), now.olderWaiting())
	if err != nil {
		return c, false
	}
	lb, _ := now.pool.Find(choice.ARN)
	c.LoadBalancer = lb.LoadBalancer
	return now.filled(c, make([]ledger.PlannedPort, len(c.Requested)), choice.Ports), true
}

// choose chooses ports on one of the usable load balancers.
func (now situation) choose(usable func(*pool.LoadBalancer) bool, excluded leaseSet, ports int, older iter.Seq[int]) (pool.Choice, error) {
	special := now.special(excluded)
	all := make([]pool.Stock, 0, len(now.pool.LoadBalancers))
	for i := range now.pool.LoadBalancers {
		if lb := &now.pool.LoadBalancers[i]; usable(lb) {
			all = append(all, now.stock(lb, special, excluded))
		}
	}
	return pool.Choose(all, pool.Request{Ports: ports, Seed: now.claim.Value.PodUID, Placement: now.pool.Terms.Placement, Older: older})
}

// filled plans kept ports, and chosen ones in the gaps between them.
func (now situation) filled(c ledger.Claim, kept []ledger.PlannedPort, chosen []int) ledger.Claim {
	c.State, c.Planned, c.Ports = ledger.Waiting, true, kept
	for i := range c.Ports {
		if c.Ports[i].Fence.Lease == "" {
			c.Ports[i] = now.planned(c.Requested[i], chosen[0], now.nextFence(c.LoadBalancer.ARN, chosen[0]))
			chosen = chosen[1:]
		}
	}
	return c
}

func (now situation) planned(p api.Port, listenerPort int, f api.Fence) ledger.PlannedPort {
	terms := now.pool.Terms
	return ledger.PlannedPort{
		ListenerPort: listenerPort, Fence: f, HealthCheck: terms.HealthCheckOf(p, now.claim.Value.HealthPort),
		Attributes: terms.Attributes, Cooldown: terms.Cooldown,
	}
}

// nextFence is the fence of a port's next holding.
func (now situation) nextFence(loadBalancerARN string, listenerPort int) api.Fence {
	lease := ledger.PortName(ledger.LoadBalancerID(loadBalancerARN), listenerPort)
	last, _ := now.ports.Cached(lease)
	return last.Value.NextFence(lease, now.epoch)
}

// withoutPorts refuses a claim for which nothing fits. It gives up what the claim
// has, unless players may be on it.
func (now situation) withoutPorts() plan {
	c := now.claim.Value
	good := func(p ledger.PlannedPort) bool { return !now.excluded.has(p) }
	if len(c.Ports) == 0 || c.State == ledger.Granted && slices.ContainsFunc(c.Ports, good) {
		return plan{refusal: now.exhausted()}
	}
	// The target of a previous pod IP goes with the ports.
	c.Ports, c.State, c.PreviousIP, c.Planned = nil, ledger.Waiting, "", true
	return plan{claim: c, changes: true, refusal: now.exhausted()}
}

func (now situation) exhausted() error {
	leftOut, inQueue, wait := "", "", retryExhausted
	if n := now.pool.TakingNone(); n > 0 { // which ones, and why, is not for pods
		leftOut = fmt.Sprintf("; %d of its load balancers take no new claims, GET /v1/pools says why", n)
	}
	if now.claim.Value.State != ledger.Granted {
		place, length := now.place()
		inQueue = fmt.Sprintf("; this is the %s of %d waiting claims", ordinal(place), length)
		wait = min(patience(place, now.unbindEvery), max(now.longestWait(), retryExhausted))
	}
	return api.Errorf(api.Exhausted, "pool %s has no load balancer with %d free listener ports%s: add a load balancer, widen the pool, or wait for a port to come back%s",
		now.pool.Name, len(now.claim.Value.Requested), inQueue, leftOut).WithRetryAfter(wait)
}
