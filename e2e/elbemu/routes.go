package elbemu

import (
	"net/netip"
	"slices"

	"github.com/portlease/portlease/e2e/elbemu/dataplane"
)

// Route says where new flows to one port of a load balancer go at a moment.
type Route struct {
	LoadBalancerARN string
	ListenerARN     string // perhaps of a deleted listener
	Port            int
	Targets         []netip.AddrPort // in order of address
}

// Routes returns the data plane's current routes. Without a data plane, it returns the
// routes that one would have.
func (e *Emulator) Routes() []Route {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.now = e.cfg.Now()
	var all []Route
	for _, l := range e.state.routes() {
		r := Route{LoadBalancerARN: l.LoadBalancer, ListenerARN: l.ID, Port: int(l.At.Port())}
		for _, t := range l.Targets {
			r.Targets = append(r.Targets, t.Addr)
		}
		all = append(all, r)
	}
	return all
}

// routes returns what the data plane should serve now. A newer listener replaces a deleted
// one on its port once the newer one is up.
func (s *state) routes() []dataplane.Listener {
	type door struct {
		lb   *loadBalancer
		port int
	}
	var all []dataplane.Listener
	taken := map[door]bool{}
	serve := func(l *listener) {
		at := door{l.lb, l.settings.port}
		if !taken[at] {
			taken[at] = true
			all = append(all, s.route(l))
		}
	}
	for _, l := range inOrder(s.listeners, s.up) {
		serve(l)
	}
	for _, l := range slices.Backward(s.gone) {
		if s.now.Before(l.until) {
			serve(&l.listener)
		}
	}
	return all
}

func (s *state) route(l *listener) dataplane.Listener {
	route := dataplane.Listener{
		ID:           l.resource.arn,
		LoadBalancer: l.lb.resource.arn,
		At:           netip.AddrPortFrom(l.lb.address, uint16(l.settings.port)),
		TCP:          l.settings.protocol == "TCP" || l.settings.protocol == "TCP_UDP",
		UDP:          l.settings.protocol == "UDP" || l.settings.protocol == "TCP_UDP",
	}
	if !route.TCP && !route.UDP {
		route.Unserved = "the data plane does not forward protocol " + l.settings.protocol
	}
	for _, f := range l.forwards {
		if f.group.attributes[attrProxyProtocol] == "true" {
			route.Unserved = "the data plane does not emulate proxy protocol v2"
		}
		for _, t := range s.eligible(l.lb, f.group) {
			route.Targets = append(route.Targets, dataplane.Target{
				Group:  f.group.resource.arn,
				Addr:   t,
				Weight: f.weight,
			})
		}
	}
	return route
}

// eligible returns the targets for new flows: the healthy ones, or all that the data plane
// has if none is healthy (the load balancer fails open).
func (s *state) eligible(lb *loadBalancer, g *targetGroup) []netip.AddrPort {
	passes := map[targetKey]bool{} // health of those that the data plane has
	for key, t := range g.gone {
		if s.now.Before(t.until) && lb.inZone(t.zone) {
			passes[key] = t.healthy
		}
	}
	s.removeDrained(g)
	for key, t := range g.targets {
		if !s.routable(t) || !lb.inZone(t.zone) {
			continue
		}
		s.advance(g, t)
		passes[key] = t.health.verdict == healthy
	}
	var passing, known []netip.AddrPort
	for key, pass := range passes {
		address := netip.AddrPortFrom(netip.MustParseAddr(key.id), uint16(key.port))
		known = append(known, address)
		if pass {
			passing = append(passing, address)
		}
	}
	if len(passing) == 0 {
		passing = known
	}
	slices.SortFunc(passing, netip.AddrPort.Compare)
	return passing
}
