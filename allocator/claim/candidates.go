package claim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
)

// otherWaiting returns the other waiting claims of the pool, oldest first. It leaves out
// claims that cannot or need not be served: those that have been silent, those whose pod
// IP is still another's, and those that the cache shows with a port, because their plan is
// on its way here.
func (now situation) otherWaiting() []cached[ledger.Claim] {
	holds := make(map[string]bool)
	for _, p := range now.ports {
		if p.Value.State == ledger.Claimed || p.Value.State == ledger.Bound {
			holds[p.Value.Holder] = true
		}
	}
	others := slices.DeleteFunc(slices.Clone(now.waiting), func(o cached[ledger.Claim]) bool {
		return o.Name == now.claim.Name || o.Value.Pool != now.claim.Value.Pool || len(o.Value.Ports) > 0 ||
			holds[o.Name] || o.Value.ConfirmedIP != o.Value.PodIP || o.age > now.silence
	})
	slices.SortFunc(others, func(a, b cached[ledger.Claim]) int { return byAge(a.Record, b.Record) })
	return others
}

// olderWaiting returns how many ports each older waiting claim of the pool needs, oldest
// first.
func (now situation) olderWaiting() []int {
	var needs []int
	for _, o := range now.otherWaiting() {
		if byAge(&now.claim, o.Record) > 0 {
			needs = append(needs, len(o.Value.Requested))
		}
	}
	return needs
}

// place says where the claim is in the queue of its pool; empty for one that has ports.
func (now situation) place() string {
	if now.claim.Value.State == ledger.Granted {
		return ""
	}
	others := now.otherWaiting()
	older := 0
	for older < len(others) && byAge(others[older].Record, &now.claim) < 0 {
		older++
	}
	return fmt.Sprintf("; this is the %s of %d waiting claims", ordinal(older+1), len(others)+1)
}

// ordinal is 1st, 2nd and so on.
func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// byAge orders claims, oldest first. The API server's time decides, and the name for
// claims of one second.
func byAge(a, b *ledger.Record[ledger.Claim]) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Name, b.Name))
}

// candidates describes the ports of load balancers for a choice.
func (now situation) candidates(loadBalancers []pool.LoadBalancer, excluded leaseSet) []pool.Candidate {
	// By name, because the cache has nothing else of a lease that cannot be read.
	leases, without := make(map[string]map[int]cached[ledger.Port]), make(map[string]map[int]bool)
	for _, p := range now.ports {
		insert(leases, p.Name, p)
	}
	for name := range excluded {
		insert(without, name, true)
	}
	var all []pool.Candidate
	for _, lb := range loadBalancers {
		id := ledger.LoadBalancerID(lb.ARN)
		c := now.candidate(lb, leases[id])
		maps.Copy(c.Taken, without[id])
		all = append(all, c)
	}
	return all
}

func (now situation) candidate(lb pool.LoadBalancer, leases map[int]cached[ledger.Port]) pool.Candidate {
	c := pool.Candidate{
		ARN: lb.ARN, Ranges: lb.Ranges, Limit: lb.Limit,
		Taken: make(map[int]bool), Preferred: make(map[int]bool), Avoided: make(map[int]bool),
	}
	listeners := make(map[int]bool)
	for port := range lb.Occupied {
		c.Taken[port], listeners[port] = true, true
	}
	for port, lease := range leases {
		v := &lease.Value
		switch {
		case !available(*v, now.claim.Value):
			c.Taken[port] = true
		case v.Namespace == now.claim.Value.Namespace && v.Pod == now.claim.Value.Pod:
			c.Preferred[port] = true
		case v.Pod != "" && lease.age < now.pool.Terms.Sticky:
			c.Avoided[port] = true
		}
		if v.Held() || v.Foreign != "" {
			listeners[port] = true
		}
	}
	c.Listeners = len(listeners)
	return c
}

// insert files what belongs to a port lease under its load balancer and listener
// port.
func insert[V any](into map[string]map[int]V, lease string, v V) {
	id, port, ok := ledger.SplitPortName(lease)
	if !ok {
		return
	}
	if into[id] == nil {
		into[id] = make(map[int]V)
	}
	into[id][port] = v
}
