// Package admin shows the ledger to admins and their tools, and lets them block a
// port and cordon a load balancer.
//
// It shows one replica's cache, which may be stale. Changes are compare-and-swap,
// as everywhere. No holder ever loses a port by them.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// Config is what a Service needs; all of it is required.
type Config struct {
	Claims  ledger.Claims
	Ports   ledger.Ports
	Cordons ledger.Cordons
	Stock   *inventory.Inventory
	// Show returns the claim of a pod.
	Show func(ctx context.Context, podUID string) (api.Claim, error)
	// GetPod is a consistent read of one pod; nil if there is none.
	GetPod func(ctx context.Context, namespace, pod string) (*ledger.Pod, error)
	Now    func() time.Time
	Log    *slog.Logger
}

// Service answers admins.
type Service struct{ config Config }

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// Pools returns every pool, in the order of the pool file, with its load balancers. A
// load balancer that no pool has any more is with the pool that its holders claimed
// from.
func (s *Service) Pools(context.Context) (api.PoolList, error) {
	var out api.PoolList
	ports := s.portsByLoadBalancer()
	waiting := make(map[string]int)
	for _, c := range s.config.Claims.CachedAll() {
		if c.Value.State == ledger.Waiting && len(c.Value.Ports) == 0 {
			waiting[c.Value.Pool]++
		}
	}
	states := s.config.Stock.States()
	for _, name := range s.config.Stock.Names() {
		from, _ := s.config.Stock.Pool(name)
		p := api.PoolView{
			Name: name, Placement: string(from.Terms.Placement), Namespaces: from.Terms.Namespaces, Protocols: []string{},
			LoadBalancers: []api.LoadBalancerView{}, Ports: s.count(from, ports), Waiting: waiting[name],
		}
		for _, protocol := range from.Terms.Protocols {
			p.Protocols = append(p.Protocols, string(protocol))
		}
		for _, lb := range states {
			held := ports[lb.ARN]
			switch {
			case lb.Pool == name:
				p.LoadBalancers = append(p.LoadBalancers, loadBalancerView(lb, held))
			case lb.Pool == "" && s.claimedFrom(name, held):
				view := loadBalancerView(lb, held)
				view.Removed = true
				p.LoadBalancers = append(p.LoadBalancers, view)
			}
		}
		out.Pools = append(out.Pools, p)
	}
	return out, nil
}

func (s *Service) portsByLoadBalancer() map[string][]*ledger.Record[ledger.Port] {
	ports := make(map[string][]*ledger.Record[ledger.Port])
	for _, r := range s.config.Ports.CachedAll() {
		ports[r.Value.LoadBalancerARN] = append(ports[r.Value.LoadBalancerARN], r)
	}
	return ports
}

// claimedFrom reports whether one of the ports is held by a claim of that pool.
func (s *Service) claimedFrom(pool string, ports []*ledger.Record[ledger.Port]) bool {
	return slices.ContainsFunc(ports, func(r *ledger.Record[ledger.Port]) bool {
		c, exists := s.config.Claims.Cached(r.Value.Holder)
		return exists && c.Value.Pool == pool
	})
}

// count counts a pool's ports by state, on load balancers that are in use.
func (s *Service) count(from pool.Pool, ports map[string][]*ledger.Record[ledger.Port]) map[string]int {
	n := map[string]int{"total": 0, "available": 0}
	for _, lb := range from.LoadBalancers {
		taken := lb.Occupied(ledger.Knows(s.config.Ports.Cached))
		listeners := maps.Clone(taken)
		for _, r := range ports[lb.ARN] {
			if r.Value.Held() {
				listeners[r.Value.ListenerPort] = true
			}
			if r.Value.State != ledger.Free {
				taken[r.Value.ListenerPort] = true
			}
		}
		free := 0
		for _, within := range lb.Ranges {
			n["total"] += within.To - within.From + 1
			for port := within.From; port <= within.To; port++ {
				if !taken[port] {
					free++
				}
			}
			for _, r := range ports[lb.ARN] {
				if within.Contains(r.Value.ListenerPort) && r.Value.State != ledger.Free {
					n[string(r.Value.State)]++
				}
			}
		}
		if lb.Cordoned == "" {
			n["available"] += max(0, min(free, lb.Limit-len(listeners)))
		}
	}
	return n
}

// Available is how many ports the usable load balancers of a pool have, and how many of them a
// claim could get now.
func (s *Service) Available(from pool.Pool) (total, available int) {
	n := s.count(from, s.portsByLoadBalancer())
	return n["total"], n["available"]
}

func loadBalancerView(s inventory.State, ports []*ledger.Record[ledger.Port]) api.LoadBalancerView {
	view := api.LoadBalancerView{
		ARN: s.ARN, ID: ledger.LoadBalancerID(s.ARN), Host: s.Host, VPC: s.VPC, LeftOut: s.LeftOut,
		Cordoned: s.Cordoned, Listeners: s.Listeners, ListenerLimit: s.Limit,
	}
	for _, r := range ports {
		if r.Value.Held() {
			view.Held++
		}
	}
	view.Empty = view.Held == 0
	return view
}

// LoadBalancers returns every load balancer once, whatever pools it is in.
func (s *Service) LoadBalancers() []api.LoadBalancerView {
	ports := s.portsByLoadBalancer()
	seen := make(map[string]bool)
	var all []api.LoadBalancerView
	for _, lb := range s.config.Stock.States() {
		if seen[lb.ARN] {
			continue
		}
		seen[lb.ARN] = true
		view := loadBalancerView(lb, ports[lb.ARN])
		view.Removed = lb.Pool == ""
		all = append(all, view)
	}
	return all
}

// Ports returns every port that was ever claimed or blocked.
func (s *Service) Ports(context.Context) (api.PortList, error) {
	var out api.PortList
	for _, r := range s.config.Ports.CachedAll() {
		out.Ports = append(out.Ports, portView(*r))
	}
	return out, nil
}

// Port returns one port by a fresh read.
func (s *Service) Port(ctx context.Context, loadBalancerID string, port int) (api.PortView, error) {
	r, err := s.config.Ports.Get(ctx, ledger.PortName(loadBalancerID, port))
	if errors.Is(err, ledger.ErrAbsent) {
		return api.PortView{}, neverUsed(loadBalancerID, port)
	}
	if err != nil {
		return api.PortView{}, unavailable(err)
	}
	return portView(r), nil
}

// ClaimOf returns the claim of a pod that exists.
func (s *Service) ClaimOf(ctx context.Context, namespace, pod string) (api.Claim, error) {
	p, err := s.config.GetPod(ctx, namespace, pod)
	if errors.Is(err, ledger.ErrPodForbidden) {
		return api.Claim{}, api.Errorf(api.NotFound, "portlease serves no pods of namespace %s: it is not listed under games in the chart's values", namespace).WithCause(err)
	}
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	if p == nil {
		return api.Claim{}, api.Errorf(api.NotFound, "there is no pod %s/%s", namespace, pod)
	}
	return s.config.Show(ctx, p.UID)
}

func portView(r ledger.Record[ledger.Port]) api.PortView {
	p := r.Value
	return api.PortView{
		Lease: r.Name, LoadBalancerARN: p.LoadBalancerARN, ListenerPort: p.ListenerPort, State: string(p.State), Generation: p.Generation,
		BlockedBy: p.BlockedBy, Foreign: p.Foreign, Namespace: p.Namespace, Pod: p.Pod, PodUID: p.PodUID,
		TargetGroupARN: p.TargetGroupARN, ListenerARN: p.ListenerARN, ChangedAt: p.UpdatedAt,
	}
}

const retryAfter = time.Second

func unavailable(err error) error {
	return api.Errorf(api.Unavailable, "a call to the Kubernetes API failed; retry").WithRetryAfter(retryAfter).WithCause(err)
}
