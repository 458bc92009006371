package elbemu

import (
	"net/netip"

	"github.com/portlease/portlease/e2e/elbemu/dataplane"
)

// routes are what the data plane should do now.
func (s *state) routes() []dataplane.Listener {
	var all []dataplane.Listener
	for _, l := range inOrder(s.listeners, nil) {
		if s.now.Before(l.resource.at.Add(s.cfg.Delays.ListenerUp)) {
			continue
		}
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
			for _, t := range s.eligible(f.group) {
				route.Targets = append(route.Targets, dataplane.Target{
					Group:  f.group.resource.arn,
					Addr:   t,
					Weight: f.weight,
				})
			}
		}
		all = append(all, route)
	}
	return all
}

// eligible are the targets that new flows may go to: the healthy ones, or all
// that are registered when none is healthy (the load balancer fails open). A
// deregistered target stays eligible for the TargetOut delay.
func (s *state) eligible(g *targetGroup) []netip.AddrPort {
	var passing, registered []netip.AddrPort
	s.settle(g)
	for _, t := range g.sortedTargets() {
		late := t.draining() && !s.now.Before(t.deregisteredAt.Add(s.cfg.Delays.TargetOut))
		early := s.now.Before(t.registeredAt.Add(s.cfg.Delays.TargetIn))
		if late || early || !inEnabledZone(g, t) {
			continue
		}
		s.advance(g, t)
		address := netip.AddrPortFrom(netip.MustParseAddr(t.id), uint16(t.port))
		registered = append(registered, address)
		if t.health.verdict == healthy {
			passing = append(passing, address)
		}
	}
	if len(passing) > 0 {
		return passing
	}
	return registered
}

// inEnabledZone is false for targets in zones that the load balancer does not use.
func inEnabledZone(g *targetGroup, t *target) bool {
	lb := g.loadBalancer()
	return lb != nil && lb.inZone(t.zone)
}
