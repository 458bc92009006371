// Package pool holds what may be handed out, and chooses listener ports from it.
//
// It is pure: it takes what is known and returns a choice. A wrong choice is
// cheap, because it becomes true only by compare-and-swap in the ledger. Two pods
// that choose the same port are not, so replicas and pods spread over the free
// ports instead of all reaching for the lowest.
package pool

import (
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// Pool is a named set of load balancers and listener ports, as it is known now.
type Pool struct {
	Name          string
	Terms         Terms
	LoadBalancers []LoadBalancer
	// LeftOut names each load balancer that cannot be used now, with the reason.
	LeftOut []string
	// Unread reports that one of those is left out only because this process has
	// not read it from AWS yet. What the pool has is unknown until then.
	Unread bool
}

// LoadBalancer is one load balancer that can be used.
type LoadBalancer struct {
	api.LoadBalancer
	// Cordoned says who keeps new claims off it and why; empty if nobody does.
	Cordoned string
	Ranges   []Range
	// Listed are the listeners of the last AWS listing.
	Listed []Listed
	// Limit is how many listeners it may have.
	Limit int
}

// Listed is a listener of the last AWS listing, whoever made it.
type Listed struct {
	Port int
	// Fence is that of the binding as which the ledger knew the listener then; zero if it
	// did not.
	Fence api.Fence
}

// Occupied returns the listener ports of the last AWS listing, except those that the ledger
// knows better. None of them is granted. knows reports whether the record of a port was not
// lost since it had that fence.
func (lb LoadBalancer) Occupied(knows func(api.Fence) bool) map[int]bool {
	occupied := make(map[int]bool)
	for _, l := range lb.Listed {
		if l.Fence == (api.Fence{}) || !knows(l.Fence) {
			occupied[l.Port] = true
		}
	}
	return occupied
}

// Find returns the pool's load balancer with that ARN.
func (p Pool) Find(arn string) (LoadBalancer, bool) {
	i := slices.IndexFunc(p.LoadBalancers, func(lb LoadBalancer) bool { return lb.ARN == arn })
	if i < 0 {
		return LoadBalancer{}, false
	}
	return p.LoadBalancers[i], true
}

// Terms are the conditions of a pool's claims.
type Terms struct {
	// Namespaces whose pods may claim; empty allows all.
	Namespaces []string
	Quota      Quota
	Protocols  []api.Protocol
	Placement  Placement
	// Cooldown is how long a freed port stays unused.
	Cooldown time.Duration
	// Sticky is how long a freed port is kept for its last pod to come back, as
	// long as other ports are free.
	Sticky time.Duration
	// HealthCheck has interval, timeout and thresholds. HealthCheckOf adds the rest.
	HealthCheck api.HealthCheck
	// Attributes of target groups that differ from AWS's defaults.
	Attributes map[string]string
}

// Admit refuses a new claim that the terms do not allow, whatever others hold. Existing
// claims keep their ports when terms change.
func (p Pool) Admit(namespace string, ports []api.Port) error {
	if len(p.Terms.Namespaces) > 0 && !slices.Contains(p.Terms.Namespaces, namespace) {
		return api.Errorf(api.Forbidden, "pool %s does not admit namespace %s: add the namespace to the pool, or claim from another pool", p.Name, namespace)
	}
	for _, port := range ports {
		if !slices.Contains(p.Terms.Protocols, port.Protocol) {
			return api.Errorf(api.Invalid, "pool %s has no %s (port %s): its protocols are %s", p.Name, port.Protocol, port.Name, join(p.Terms.Protocols))
		}
	}
	return p.Terms.Quota.admit(p.Name, len(ports))
}

func join(protocols []api.Protocol) string {
	var all []string
	for _, p := range protocols {
		all = append(all, string(p))
	}
	return strings.Join(all, ", ")
}

// HealthCheckOf returns the health check of a target group. AWS checks the target
// port over TCP; a port that speaks only UDP is checked over HTTP at its agent.
func (t Terms) HealthCheckOf(p api.Port, agentPort int) api.HealthCheck {
	h := t.HealthCheck
	h.Protocol = "TCP"
	if p.Protocol == api.UDP {
		h.Protocol, h.Port, h.Path = "HTTP", agentPort, api.HealthPath
	}
	return h
}

// TakingNone is how many load balancers take no new claims.
func (p Pool) TakingNone() int {
	n := len(p.LeftOut)
	for _, lb := range p.LoadBalancers {
		if lb.Cordoned != "" {
			n++
		}
	}
	return n
}
