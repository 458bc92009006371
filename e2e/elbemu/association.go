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

// admitListener returns an error if the listener may not forward to its target groups. old
// is the listener that it replaces, or nil.
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
		s.removeDrained(g)
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

// admitQUIC refuses a second QUIC listener on a load balancer, and QUIC together with UDP.
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

// attach adds the listener to the users of its target groups. A group that was unused
// starts health checks.
func (s *state) attach(l *listener) {
	for _, f := range l.forwards {
		g := f.group
		if len(g.users) == 0 {
			s.startTargets(g)
			g.attachedAt = s.now
			for _, t := range g.targets {
				t.health = health{}
			}
		}
		g.users[l.resource.arn] = l
	}
	s.changed()
}

// detach removes the listener from the users of the groups that it no longer forwards to.
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
