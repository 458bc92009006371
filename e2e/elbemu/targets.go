package elbemu

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// targetKey identifies a target within a group. An address may be registered on several
// ports.
type targetKey struct {
	id   string
	port int
}

type target struct {
	targetKey
	zone           string // an Availability Zone or all
	quicServerID   string
	registeredAt   time.Time
	deregisteredAt time.Time // zero while registered
	routableAt     time.Time // when the data plane gets it; zero before the group was attached
	health         health
}

func (t *target) draining() bool { return !t.deregisteredAt.IsZero() }

func (g *targetGroup) sortedTargets() []*target {
	list := make([]*target, 0, len(g.targets))
	for _, t := range g.targets {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *target) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.port, b.port))
	})
	return list
}

// targetGiven is a target as given by a call.
type targetGiven struct {
	id           string
	port         *int
	zone         string
	quicServerID string
}

func (p fields) readTargets() []targetGiven {
	var list []targetGiven
	for _, m := range p.members("Targets") {
		list = append(list, targetGiven{
			id:           m.required("Id"),
			port:         m.number("Port", 1, 65535),
			zone:         m.optional("AvailabilityZone"),
			quicServerID: m.optional("QuicServerId"),
		})
	}
	return list
}

func (t targetGiven) key(g *targetGroup) targetKey {
	port := g.port
	if t.port != nil {
		port = *t.port
	}
	return targetKey{id: t.id, port: port}
}

func (p fields) requireTargets() []targetGiven {
	list := p.readTargets()
	if len(list) == 0 {
		p.f.refuse(invalid("1 validation error detected: Value null at 'targets' failed to satisfy constraint: Member must not be null"))
	}
	return list
}

func decodeRegisterTargets(p fields) step {
	arn, list := p.required("TargetGroupArn"), p.requireTargets()
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		if err := s.register(g, list); err != nil {
			return nil, err
		}
		return void{}, nil
	}
}

func (s *state) register(g *targetGroup, list []targetGiven) *APIError {
	s.removeDrained(g)
	fresh := map[targetKey]*target{}
	for _, given := range list {
		zone, err := s.placeTarget(g, given)
		if err != nil {
			return err
		}
		key := given.key(g)
		old, known := g.targets[key]
		if known && !old.draining() {
			if old.quicServerID != given.quicServerID {
				return invalid("The QUIC server ID of the registered target '%s' cannot be modified", given.id)
			}
			continue // registering again changes nothing
		}
		if given.quicServerID != "" && g.hasQUICServer(given.quicServerID) {
			return invalid("The QUIC server ID '%s' is registered already", given.quicServerID)
		}
		fresh[key] = &target{targetKey: key, zone: zone, quicServerID: given.quicServerID, registeredAt: s.now}
	}
	if err := s.roomForTargets(g, fresh); err != nil {
		return err
	}
	if len(g.users) > 0 {
		for _, t := range fresh {
			t.routableAt = s.now.Add(s.cfg.Delays.TargetIn)
		}
	}
	maps.Copy(g.targets, fresh)
	s.changed()
	return nil
}

// hasQUICServer checks one group only. AWS requires an ID that is unique within the
// listener.
func (g *targetGroup) hasQUICServer(id string) bool {
	for _, t := range g.targets {
		if t.quicServerID == id {
			return true
		}
	}
	return false
}

var (
	privateRanges = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
	}
	quicServerIDPattern = regexp.MustCompile(`^0x[0-9a-f]{16}$`)
)

// placeTarget validates a target's address and returns its zone. The subnets count, not
// the VPC's CIDR (aws-load-balancer-controller #3714).
func (s *state) placeTarget(g *targetGroup, t targetGiven) (zone string, _ *APIError) {
	if g.targetType == "instance" {
		return "", refuse(codeInvalidTarget, "The following targets are not in a running state and cannot be registered: '%.100s'", t.id)
	}
	if isQUIC(g.protocol) != (t.quicServerID != "") || t.quicServerID != "" && !quicServerIDPattern.MatchString(t.quicServerID) {
		return "", invalid("A QUIC server ID of the form 0x and 16 lowercase hexadecimal characters must be specified for target groups with protocol QUIC or TCP_QUIC, and for no others")
	}
	ip, err := netip.ParseAddr(t.id)
	if err != nil || ip.Zone() != "" {
		return "", invalid("The target ID '%.100s' is not a valid IP address", t.id)
	}
	if ip.Is4() != (g.ipType == "ipv4") {
		return "", invalid("The IP address '%s' does not match the IP address type '%s' of the target group", t.id, g.ipType)
	}
	for _, subnet := range s.cfg.Subnets {
		if subnet.VPC != g.vpc || !subnet.CIDR.Contains(ip) {
			continue
		}
		if t.zone != "" && t.zone != subnet.Zone {
			return "", invalid("The IP address '%s' is within the VPC, and cannot have its Availability Zone overridden to '%.40s' from '%s'", t.id, t.zone, subnet.Zone)
		}
		return subnet.Zone, nil
	}
	return s.placeOutside(g, t, ip)
}

func (s *state) placeOutside(g *targetGroup, t targetGiven, ip netip.Addr) (zone string, _ *APIError) {
	if !slices.ContainsFunc(privateRanges, func(r netip.Prefix) bool { return r.Contains(ip) }) {
		return "", invalid("The IP address '%s' must be within the subnets of the VPC or a private range; publicly routable addresses cannot be registered", t.id)
	}
	if t.zone == "" {
		return "", invalid("The Availability Zone is required for IP address '%s' because it is not in the VPC", t.id)
	}
	inVPC := func(n Subnet) bool { return n.VPC == g.vpc && n.Zone == t.zone }
	if t.zone != "all" && !slices.ContainsFunc(s.cfg.Subnets, inVPC) {
		return "", invalid("You must specify a valid Availability Zone or select 'all' for IP address '%s', not '%.40s'", t.id, t.zone)
	}
	return t.zone, nil
}

func decodeDeregisterTargets(p fields) step {
	arn, list := p.required("TargetGroupArn"), p.requireTargets()
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		s.removeDrained(g)
		for _, given := range list {
			s.deregister(g, given.key(g))
		}
		return void{}, nil
	}
}

// deregister succeeds for an absent target, as documented.
func (s *state) deregister(g *targetGroup, key targetKey) {
	t, ok := g.targets[key]
	if !ok || t.draining() {
		return
	}
	s.advance(g, t)
	s.lingerTarget(g, t)
	t.deregisteredAt = s.now
	if len(g.users) == 0 && !s.cfg.Switches.UnusedTargetsDrain {
		delete(g.targets, key)
	}
	s.removeDrained(g)
	s.changed()
}

// removeDrained removes targets that have finished draining.
func (s *state) removeDrained(g *targetGroup) {
	delay := time.Duration(g.attributes.seconds(attrDrainSeconds)) * time.Second
	for key, t := range g.targets {
		if !t.draining() || s.now.Before(t.deregisteredAt.Add(delay)) {
			continue
		}
		delete(g.targets, key)
		if g.attributes[attrDrainTerminates] == "true" {
			s.cutFlows(Cut{TargetGroup: g.resource.arn, Target: key.id, Port: key.port})
		}
		s.changed()
	}
}
