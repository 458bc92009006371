package claim

import (
	"maps"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/portpool"
	"github.com/portlease/portlease/shared/api"
)

// Health checks of a binding. Network load balancers take 5-300 s as interval
// and 2-10 as thresholds (AWS, "Health checks for Network Load Balancer target
// groups"); a new target is healthy after its first passing check.
const (
	healthInterval  = 10
	healthThreshold = 2
)

// plan chooses ports for a claim and the fences they will have. It keeps those
// entries that are not excluded if the same load balancer can give the rest.
// It returns portpool.ErrExhausted when nothing fits.
func (s *Service) plan(c ledger.Claim, exclude map[string]bool) (ledger.Claim, error) {
	pool, _ := s.Pools.Pool(c.Pool)
	records := make(map[string]ledger.Record[ledger.Port])
	for _, r := range s.Ports.View() {
		records[r.Name] = r
	}
	kept := make([]*ledger.PlannedPort, len(c.Wanted))
	missing := len(c.Wanted)
	// The view may be late and show a port that is kept as free.
	used := maps.Clone(exclude)
	for i, p := range c.Ports {
		if !exclude[p.Fence.Lease] {
			kept[i] = &p
			used[p.Fence.Lease] = true
			missing--
		}
	}
	if missing < len(c.Wanted) {
		same := slices.DeleteFunc(slices.Clone(pool.LoadBalancers), func(lb LoadBalancer) bool { return lb.ARN != c.LoadBalancer.ARN })
		if choice, err := portpool.Choose(s.candidates(same, records, c, used), missing, c.PodUID); err == nil {
			return s.planned(c, same[0], kept, choice.Ports, records), nil
		}
	}
	choice, err := portpool.Choose(s.candidates(pool.LoadBalancers, records, c, exclude), len(c.Wanted), c.PodUID)
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(pool.LoadBalancers, func(lb LoadBalancer) bool { return lb.ARN == choice.ARN })
	return s.planned(c, pool.LoadBalancers[i], make([]*ledger.PlannedPort, len(c.Wanted)), choice.Ports, records), nil
}

// planned fills the gaps of a plan with the chosen listener ports.
func (s *Service) planned(c ledger.Claim, lb LoadBalancer, kept []*ledger.PlannedPort, chosen []int, records map[string]ledger.Record[ledger.Port]) ledger.Claim {
	c.LoadBalancer = lb.LoadBalancer
	c.State = ledger.Waiting
	c.Ports = nil
	for i, k := range kept {
		if k != nil {
			c.Ports = append(c.Ports, *k)
			continue
		}
		lease := ledger.PortName(ledger.LoadBalancerID(lb.ARN), chosen[0])
		f := api.Fence{Lease: lease, Generation: 1}
		if r, exists := records[lease]; exists {
			f.Epoch, f.Generation = r.Value.Epoch, r.Value.Generation+1
		} else {
			f.Epoch = s.NewEpoch()
		}
		c.Ports = append(c.Ports, ledger.PlannedPort{ListenerPort: chosen[0], Fence: f, HealthCheck: healthCheck(c, c.Wanted[i])})
		chosen = chosen[1:]
	}
	return c
}

// healthCheck is over TCP on the target port itself where somebody listens
// there, and over HTTP at the agent where the game speaks UDP only.
func healthCheck(c ledger.Claim, p api.Port) api.HealthCheck {
	h := api.HealthCheck{Protocol: "TCP", IntervalSeconds: healthInterval, HealthyThreshold: healthThreshold, UnhealthyThreshold: healthThreshold}
	if p.Protocol == api.UDP {
		h.Protocol, h.Port, h.Path = "HTTP", c.HealthPort, api.HealthPath
	}
	return h
}

// candidates says which ports of the load balancers may be chosen for a claim.
func (s *Service) candidates(lbs []LoadBalancer, records map[string]ledger.Record[ledger.Port], c ledger.Claim, exclude map[string]bool) []portpool.LoadBalancer {
	// By name, because a record that cannot be read tells nothing else.
	byLoadBalancer := make(map[string]map[int]ledger.Port)
	excluded := make(map[string]map[int]bool)
	for name, r := range records {
		note(byLoadBalancer, name, r.Value)
	}
	for name := range exclude {
		note(excluded, name, true)
	}
	var out []portpool.LoadBalancer
	for _, lb := range lbs {
		p := portpool.LoadBalancer{ARN: lb.ARN, Ranges: lb.Ranges, Limit: lb.Limit, Taken: make(map[int]bool), Preferred: make(map[int]bool)}
		listeners := make(map[int]bool)
		for port := range lb.Seen {
			p.Taken[port], listeners[port] = true, true
		}
		for port, v := range byLoadBalancer[ledger.LoadBalancerID(lb.ARN)] {
			if open(v, c) {
				p.Preferred[port] = v.Namespace == c.Namespace && v.Pod == c.Pod
			} else {
				p.Taken[port] = true
			}
			if v.State != ledger.Free && v.State != ledger.Cooldown {
				listeners[port] = true
			}
		}
		maps.Copy(p.Taken, excluded[ledger.LoadBalancerID(lb.ARN)])
		p.Listeners = len(listeners)
		out = append(out, p)
	}
	return out
}

// note sorts what a port lease's name stands for under its load balancer.
func note[V any](into map[string]map[int]V, name string, v V) {
	id, port, ok := ledger.SplitPortName(name)
	if !ok {
		return
	}
	if into[id] == nil {
		into[id] = make(map[int]V)
	}
	into[id][port] = v
}

// open tells whether a port may be taken by a claim: it is free, or it cools
// down from this very namespace/pod, whose players may well come back to it.
func open(p ledger.Port, c ledger.Claim) bool {
	switch p.State {
	case ledger.Free:
		return true
	case ledger.Cooldown:
		return p.Namespace == c.Namespace && p.Pod == c.Pod
	case ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Blocked:
		return false
	}
	return false
}
