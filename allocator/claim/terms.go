package claim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// Terms are what a pool grants under.
type Terms struct {
	// Namespaces whose pods may claim; empty allows all.
	Namespaces []string
	Protocols  []api.Protocol
	Placement  pool.Placement
	// Cooldown is how long a port stays unused after a holding.
	Cooldown time.Duration
	// Sticky is for how long a port waits for its last pod to come back, as long
	// as others are free.
	Sticky time.Duration
	// HealthCheck has interval, timeout and thresholds; port and protocol follow
	// from the port that is checked.
	HealthCheck api.HealthCheck
	// Attributes of target groups that differ from AWS's defaults.
	Attributes map[string]string
}

// admit refuses what the terms do not allow. It is asked of new claims alone:
// who has ports keeps them when terms change.
func (p Pool) admit(h Holder, ports []api.Port) error {
	if len(p.Terms.Namespaces) > 0 && !slices.Contains(p.Terms.Namespaces, h.Namespace) {
		return api.Errorf(api.Forbidden, "pool %s is not open to namespace %s: add it to the pool's namespaces, or claim from another pool", p.Name, h.Namespace)
	}
	for _, port := range ports {
		if !slices.Contains(p.Terms.Protocols, port.Protocol) {
			return api.Errorf(api.Invalid, "pool %s has no %s (port %s): its protocols are %s", p.Name, port.Protocol, port.Name, words(p.Terms.Protocols))
		}
	}
	return nil
}

func words(protocols []api.Protocol) string {
	var all []string
	for _, p := range protocols {
		all = append(all, string(p))
	}
	return strings.Join(all, ", ")
}

// unknownPool names what there is instead.
func (s *Service) unknownPool(name string) error {
	return api.Errorf(api.Invalid, "pool %q does not exist; the pools are: %s", name, strings.Join(s.Pools.Names(), ", "))
}

// healthCheck is over TCP on the target port itself where somebody listens
// there, and over HTTP at the agent where the game speaks UDP only.
func (t Terms) healthCheck(c ledger.Claim, p api.Port) api.HealthCheck {
	h := t.HealthCheck
	h.Protocol = "TCP"
	if p.Protocol == api.UDP {
		h.Protocol, h.Port, h.Path = "HTTP", c.HealthPort, api.HealthPath
	}
	return h
}

func (s *Service) exhausted(c ledger.Claim) error {
	s.Count("exhausted", c.Pool)
	from, _ := s.Pools.Pool(c.Pool)
	var closed []string
	for _, lb := range from.LoadBalancers {
		if lb.Closed != "" {
			closed = append(closed, fmt.Sprintf("%s (%s)", lb.ARN, lb.Closed))
		}
	}
	leftOut := ""
	if out := append(closed, from.LeftOut...); len(out) > 0 {
		leftOut = "; left out: " + strings.Join(out, ", ")
	}
	return api.Errorf(api.Exhausted, "pool %s has no load balancer with %d free listener ports: add a load balancer, widen the pool, or wait for a port to come back%s",
		c.Pool, len(c.Wanted), leftOut).WithRetryAfter(retryExhausted)
}
