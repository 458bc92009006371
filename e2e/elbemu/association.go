package elbemu

import "slices"

// groupProtocols are the target group protocols that a listener protocol can
// forward to. Source: the user guide "Target groups for your Network Load
// Balancers".
var groupProtocols = map[string][]string{
	"TCP":      {"TCP", "TCP_UDP", "TCP_QUIC"},
	"TLS":      {"TCP", "TLS"},
	"UDP":      {"UDP", "TCP_UDP"},
	"TCP_UDP":  {"TCP_UDP"},
	"QUIC":     {"QUIC", "TCP_QUIC"},
	"TCP_QUIC": {"TCP_QUIC"},
}

// admitListener tells whether the listener may forward as it wants to; old is
// the listener it replaces, or nil.
func (s *state) admitListener(l, old *listener) *APIError {
	if err := admitQUIC(l, old); err != nil {
		return err
	}
	n := &targetTally{zones: map[string]int{}}
	counted := map[*targetGroup]bool{}
	for _, f := range l.forwards {
		g := f.group
		if !slices.Contains(groupProtocols[l.settings.protocol], g.protocol) {
			return refuse(codeIncompatible, "The listener and its associated target group '%s' have incompatible protocols: '%s' and '%s'", g.resource.arn, l.settings.protocol, g.protocol)
		}
		if user := g.loadBalancer(); user != nil && user != l.lb {
			return refuse(codeAssociationLimit, "The following target groups cannot be associated with more than one load balancer: %s", g.resource.arn)
		}
		if g.vpc != l.lb.vpc {
			return refuse(codeInvalidConfiguration, "The load balancer and target group '%s' must be in the same VPC", g.resource.arn)
		}
		if g.ipType == "ipv6" && l.lb.ipType == "ipv4" {
			return refuse(codeInvalidConfiguration, "The target group '%s' with IP address type ipv6 cannot be used with a load balancer of IP address type ipv4", g.resource.arn)
		}
		if l.lb.ipType == "dualstack" && l.settings.protocol != "TCP" && l.settings.protocol != "TLS" && g.ipType == "ipv4" {
			return refuse(codeInvalidConfiguration, "A dualstack load balancer with listener protocol '%s' needs target groups with IP address type ipv6", l.settings.protocol)
		}
		s.settle(g)
		counted[g] = true
		n.addGroup(g)
	}
	for _, other := range l.lb.listeners {
		for _, f := range other.forwards {
			if other != old && !counted[f.group] {
				counted[f.group] = true
				n.addGroup(f.group)
			}
		}
	}
	return s.roomOn(l.lb, n)
}

// admitQUIC keeps to at most one QUIC listener for each load balancer, and none
// beside UDP.
func admitQUIC(l, old *listener) *APIError {
	for _, other := range l.lb.listeners {
		if other == old {
			continue
		}
		mine, its := l.settings.protocol, other.settings.protocol
		datagrams := func(p string) bool { return p == "UDP" || p == "TCP_UDP" }
		if isQUIC(mine) && (isQUIC(its) || datagrams(its)) || datagrams(mine) && isQUIC(its) {
			return refuse(codeInvalidConfiguration, "A load balancer can have one QUIC or TCP_QUIC listener, and then no UDP or TCP_UDP listener")
		}
	}
	if isQUIC(l.settings.protocol) && (l.lb.ipType == "dualstack" || len(l.lb.groups) > 0) {
		return refuse(codeInvalidConfiguration, "Protocol '%s' is not supported with dualstack load balancers or security groups", l.settings.protocol)
	}
	return nil
}

// attach makes the listener a user of its target groups. A group that was
// unused begins to check its targets.
func (s *state) attach(l *listener) {
	for _, f := range l.forwards {
		g := f.group
		if len(g.users) == 0 {
			s.introduce(g)
			g.attachedAt = s.now
			for _, t := range g.targets {
				t.health = health{}
			}
		}
		g.users[l.resource.arn] = l
	}
	s.changed()
}

// detach ends the listener's use of the groups that it no longer forwards to.
func (s *state) detach(l *listener, groups []forward) {
	for _, f := range groups {
		if slices.ContainsFunc(l.forwards, func(kept forward) bool { return kept.group == f.group }) {
			continue
		}
		delete(f.group.users, l.resource.arn)
		if len(f.group.users) == 0 {
			f.group.detachedAt = s.now
		}
	}
	s.changed()
}
