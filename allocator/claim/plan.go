package claim

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// portView is the ports of the view as they were at one moment: in order, and by
// lease name. There may be thousands, so they are pointed to and not copied.
type portView struct {
	all    []ledger.Record[ledger.Port]
	byName map[string]*ledger.Record[ledger.Port]
}

func (s *Service) viewPorts() portView {
	v := portView{all: s.Ports.CachedAll()}
	v.byName = make(map[string]*ledger.Record[ledger.Port], len(v.all))
	for i := range v.all {
		v.byName[v.all[i].Name] = &v.all[i]
	}
	return v
}

// plan chooses ports for a claim and the fences they will have. It keeps those
// entries that are not excluded if the same load balancer can give the rest.
// It returns pool.ErrExhausted when nothing fits.
func (s *Service) plan(r ledger.Record[ledger.Claim], ports portView, exclude map[string]bool) (ledger.Claim, error) {
	c := r.Value
	from, known := s.Pools.Pool(c.Pool)
	if !known {
		return c, s.unknownPool(c.Pool)
	}
	if from.Unread && s.holdsElsewhere(r, from, ports) {
		// Nothing is given up for what may turn out to be wrong in a moment.
		return c, unread(from)
	}
	if !c.Planned {
		c = s.remembered(r, from, ports)
	}
	wish := pool.Request{Ports: len(c.Requested), Seed: c.PodUID, Placement: from.Terms.Placement, Older: s.elders(r, ports)}
	kept := make([]*ledger.PlannedPort, len(c.Requested))
	// The view may be late and show a port that is kept as free.
	used := maps.Clone(exclude)
	for i, p := range c.Ports {
		if p.Fence.Lease != "" && !exclude[p.Fence.Lease] {
			kept[i] = &p
			used[p.Fence.Lease] = true
			wish.Ports--
		}
	}
	if wish.Ports < len(c.Requested) {
		// Who has a part comes before all who have nothing.
		rest := wish
		rest.Older = nil
		same := slices.DeleteFunc(slices.Clone(from.LoadBalancers), func(lb pool.LoadBalancer) bool { return lb.ARN != c.LoadBalancer.ARN })
		choice, err := pool.Choose(s.candidates(from, same, ports, c, used), rest)
		if err == nil {
			return s.planned(c, from, same[0].LoadBalancer, kept, choice.Ports, ports), nil
		}
		if wish.Ports == 0 {
			return s.planned(c, from, c.LoadBalancer, kept, nil, ports), nil
		}
	}
	wish.Ports = len(c.Requested)
	open := slices.DeleteFunc(slices.Clone(from.LoadBalancers), func(lb pool.LoadBalancer) bool { return lb.Cordoned != "" })
	choice, err := pool.Choose(s.candidates(from, open, ports, c, exclude), wish)
	if err != nil && from.Unread {
		return c, unread(from)
	}
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(open, func(lb pool.LoadBalancer) bool { return lb.ARN == choice.ARN })
	return s.planned(c, from, open[i].LoadBalancer, make([]*ledger.PlannedPort, len(c.Requested)), choice.Ports, ports), nil
}

// unread is for a pool of which nobody can say yet what it has.
func unread(from pool.Pool) error {
	return api.Errorf(api.Pending, "the load balancers of pool %s are not all read from AWS yet: %s", from.Name, strings.Join(from.LeftOut, ", ")).WithRetryAfter(retrySoon)
}

// holdsElsewhere tells whether a claim has ports on a load balancer that the pool
// does not show.
func (s *Service) holdsElsewhere(r ledger.Record[ledger.Claim], from pool.Pool, ports portView) bool {
	shown := func(arn string) bool {
		return slices.ContainsFunc(from.LoadBalancers, func(lb pool.LoadBalancer) bool { return lb.ARN == arn })
	}
	if len(r.Value.Ports) > 0 && !shown(r.Value.LoadBalancer.ARN) {
		return true
	}
	return slices.ContainsFunc(ports.all, func(p ledger.Record[ledger.Port]) bool {
		return p.Value.Holder == r.Name && !shown(p.Value.LoadBalancerARN)
	})
}

// planned fills the gaps of a plan with the chosen listener ports.
func (s *Service) planned(c ledger.Claim, from pool.Pool, lb api.LoadBalancer, kept []*ledger.PlannedPort, chosen []int, ports portView) ledger.Claim {
	c.LoadBalancer = lb
	c.State = ledger.Waiting
	c.Ports = nil
	for i, k := range kept {
		if k != nil {
			c.Ports = append(c.Ports, *k)
			continue
		}
		lease := ledger.PortName(ledger.LoadBalancerID(lb.ARN), chosen[0])
		f := api.Fence{Lease: lease, Generation: 1}
		if r, exists := ports.byName[lease]; exists && r.Value.Generation > 0 {
			f.Epoch, f.Generation = r.Value.Epoch, r.Value.Generation+1
		} else {
			f.Epoch = s.NewEpoch()
		}
		c.Ports = append(c.Ports, ledger.PlannedPort{
			ListenerPort: chosen[0], Fence: f, HealthCheck: from.Terms.HealthCheckOf(c.Requested[i], c.HealthPort),
			Attributes: from.Terms.Attributes, Cooldown: from.Terms.Cooldown,
		})
		chosen = chosen[1:]
	}
	return c
}

// remembered gives a claim without ports those that its earlier claim lease left
// behind: somebody deleted that lease while the agent was restarting, and the
// pod is to keep its address. Not one that somebody else listens on: that was
// given up on purpose, by a replica that ended before it was done.
func (s *Service) remembered(r ledger.Record[ledger.Claim], from pool.Pool, ports portView) ledger.Claim {
	c := r.Value
	found := make([]ledger.PlannedPort, len(c.Requested))
	for i := range ports.all {
		p := &ports.all[i]
		v := &p.Value
		if v.Holder != r.Name || v.State != ledger.Claimed && v.State != ledger.Bound || v.Foreign != "" {
			continue
		}
		wanted := slices.IndexFunc(c.Requested, func(w api.Port) bool { return w.Name == v.PortName })
		at := slices.IndexFunc(from.LoadBalancers, func(lb pool.LoadBalancer) bool { return lb.ARN == v.LoadBalancerARN })
		if wanted < 0 || at < 0 || c.LoadBalancer.ARN != "" && c.LoadBalancer.ARN != v.LoadBalancerARN {
			continue
		}
		c.LoadBalancer = from.LoadBalancers[at].LoadBalancer
		found[wanted] = ledger.PlannedPort{
			ListenerPort: v.ListenerPort, Fence: v.Fence(p.Name), HealthCheck: from.Terms.HealthCheckOf(c.Requested[wanted], c.HealthPort),
			Attributes: from.Terms.Attributes, Cooldown: from.Terms.Cooldown,
		}
	}
	if c.LoadBalancer.ARN != "" {
		c.Ports = found
	}
	return c
}

// elders are the claims of the same pool that wait for ports for longer than
// this one, oldest first, with how many each wants. One that has not asked for a
// while does not count, nor does one whose address is still another's, nor one
// that the view shows with a port: its plan is only on its way here.
func (s *Service) elders(r ledger.Record[ledger.Claim], ports portView) []int {
	served := make(map[string]bool)
	for i := range ports.all {
		if p := &ports.all[i].Value; p.State == ledger.Claimed || p.State == ledger.Bound {
			served[p.Holder] = true
		}
	}
	waiting := slices.DeleteFunc(s.Claims.CachedAll(), func(o ledger.Record[ledger.Claim]) bool {
		return o.Name == r.Name || o.Value.State != ledger.Waiting || o.Value.Pool != r.Value.Pool || len(o.Value.Ports) > 0 ||
			served[o.Name] || o.Value.ConfirmedIP != o.Value.PodIP || s.Age(o.Name, o.Version) > patience*s.RenewEvery || older(r, o) < 0
	})
	slices.SortFunc(waiting, older)
	wants := make([]int, len(waiting))
	for i, o := range waiting {
		wants[i] = len(o.Value.Requested)
	}
	return wants
}

// patience is after how many intervals of renewal without a word a waiting claim
// loses its place in the line. It does not lose the claim.
const patience = 2

// older orders claims by who came first. The API server's time decides, and
// among those of one second the name.
func older(a, b ledger.Record[ledger.Claim]) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name))
}

// candidates says which ports of the load balancers may be chosen for a claim.
func (s *Service) candidates(from pool.Pool, lbs []pool.LoadBalancer, ports portView, c ledger.Claim, exclude map[string]bool) []pool.Candidate {
	// By name, because a record that cannot be read tells nothing else.
	byLoadBalancer := make(map[string]map[int]*ledger.Record[ledger.Port])
	excluded := make(map[string]map[int]bool)
	for name, r := range ports.byName {
		note(byLoadBalancer, name, r)
	}
	for name := range exclude {
		note(excluded, name, true)
	}
	var out []pool.Candidate
	for _, lb := range lbs {
		p := pool.Candidate{
			ARN: lb.ARN, Ranges: lb.Ranges, Limit: lb.Limit,
			Taken: make(map[int]bool), Preferred: make(map[int]bool), Avoided: make(map[int]bool),
		}
		listeners := make(map[int]bool)
		for port := range lb.Occupied {
			p.Taken[port], listeners[port] = true, true
		}
		for port, r := range byLoadBalancer[ledger.LoadBalancerID(lb.ARN)] {
			v := &r.Value
			own := v.Namespace == c.Namespace && v.Pod == c.Pod
			switch {
			case !open(*v, c):
				p.Taken[port] = true
			case own:
				p.Preferred[port] = true
			case v.Pod != "" && s.Age(r.Name, r.Version) < from.Terms.Sticky:
				p.Avoided[port] = true
			}
			if v.Held() || v.Foreign != "" {
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
	if p.BlockedBy != "" || p.Foreign != "" {
		return false
	}
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

// returning finds a port that this very namespace/pod had before and that is
// still being unbound: waiting for it gives the pod its address back.
func (s *Service) returning(c ledger.Claim, ports portView) (listenerPort int, found bool) {
	from, _ := s.Pools.Pool(c.Pool)
	if from.Terms.Sticky == 0 {
		return 0, false
	}
	for i := range ports.all {
		r := &ports.all[i]
		v := &r.Value
		if v.State == ledger.Releasing && v.Namespace == c.Namespace && v.Pod == c.Pod && v.PodUID != c.PodUID &&
			s.Age(r.Name, r.Version) < s.ReturnPatience && slices.ContainsFunc(from.LoadBalancers, func(lb pool.LoadBalancer) bool {
			return lb.ARN == v.LoadBalancerARN && lb.Cordoned == ""
		}) {
			return v.ListenerPort, true
		}
	}
	return 0, false
}
