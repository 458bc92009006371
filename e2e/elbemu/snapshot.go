package elbemu

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Snapshot is a copy of all resources at one moment. It shares no memory with the
// emulator. Lists are in order of creation.
type Snapshot struct {
	At            time.Time
	LoadBalancers []LoadBalancer
	Listeners     []Listener
	TargetGroups  []TargetGroup
}

// LoadBalancer is a Network Load Balancer in a Snapshot.
type LoadBalancer struct {
	ARN        string
	Name       string
	DNSName    string
	Address    netip.Addr // invalid without a data plane
	Scheme     string
	State      string // provisioning or active
	VPC        string
	Subnets    []Subnet
	Attributes map[string]string
	Tags       map[string]string
	CreatedAt  time.Time
}

// Listener is a listener in a Snapshot.
type Listener struct {
	ARN             string
	LoadBalancerARN string
	Port            int
	Protocol        string
	Forwards        []Forward
	Attributes      map[string]string
	Tags            map[string]string
	CreatedAt       time.Time
	// Fault is why the data plane does not serve this listener: its socket could not be
	// bound, or its protocol is not forwarded. It is empty if the listener is served, or
	// if there is no data plane.
	Fault string
}

// Forward is one target group in a listener's default action.
type Forward struct {
	TargetGroupARN string
	Weight         int
}

// TargetGroup is a target group in a Snapshot.
type TargetGroup struct {
	ARN             string
	Name            string
	Protocol        string
	Port            int
	VPC             string
	TargetType      string
	LoadBalancerARN string // empty while no listener forwards to it
	HealthCheck     HealthCheck
	Attributes      map[string]string
	Tags            map[string]string
	Targets         []Target // by address and port
	CreatedAt       time.Time
}

// HealthCheck is the health check configuration of a target group.
type HealthCheck struct {
	Protocol           string // TCP, HTTP or HTTPS
	Port               string // a number or traffic-port
	Path               string // empty for TCP
	Codes              string // empty for TCP
	Interval           time.Duration
	Timeout            time.Duration
	HealthyThreshold   int
	UnhealthyThreshold int
}

// Target is a target in a Snapshot.
type Target struct {
	ID             string
	Port           int
	Zone           string // an Availability Zone or all
	State          string
	Reason         string
	Description    string
	RegisteredAt   time.Time
	DeregisteredAt time.Time // zero unless draining
}

// Snapshot copies all resources. It takes no tokens, and includes resources that calls
// cannot see yet.
func (e *Emulator) Snapshot() Snapshot {
	faults := map[string]string{}
	if e.forward != nil {
		faults = e.forward.plane.Faults()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state
	s.now = e.cfg.Now()
	taken := Snapshot{At: s.now}
	for _, lb := range inOrder(s.loadBalancers, nil) {
		taken.LoadBalancers = append(taken.LoadBalancers, s.copyLoadBalancer(lb))
	}
	for _, l := range inOrder(s.listeners, nil) {
		taken.Listeners = append(taken.Listeners, l.copy(faults[l.resource.arn]))
	}
	for _, g := range inOrder(s.targetGroups, nil) {
		taken.TargetGroups = append(taken.TargetGroups, s.copyTargetGroup(g))
	}
	return taken
}

func (s *state) copyLoadBalancer(lb *loadBalancer) LoadBalancer {
	return LoadBalancer{
		ARN: lb.resource.arn, Name: lb.name, DNSName: s.dnsName(lb), Address: lb.address,
		Scheme: lb.scheme, State: s.loadBalancerState(lb), VPC: lb.vpc, Subnets: slices.Clone(lb.subnets),
		Attributes: maps.Clone(lb.attributes), Tags: maps.Clone(lb.resource.tags), CreatedAt: lb.resource.at,
	}
}

func (l *listener) copy(fault string) Listener {
	c := Listener{
		ARN: l.resource.arn, LoadBalancerARN: l.lb.resource.arn, Port: l.settings.port, Protocol: l.settings.protocol,
		Attributes: maps.Clone(l.attributes), Tags: maps.Clone(l.resource.tags), CreatedAt: l.resource.at, Fault: fault,
	}
	for _, f := range l.forwards {
		c.Forwards = append(c.Forwards, Forward{TargetGroupARN: f.group.resource.arn, Weight: f.weight})
	}
	return c
}

func (s *state) copyTargetGroup(g *targetGroup) TargetGroup {
	s.removeDrained(g)
	c := TargetGroup{
		ARN: g.resource.arn, Name: g.name, Protocol: g.protocol, Port: g.port, VPC: g.vpc, TargetType: g.targetType,
		HealthCheck: HealthCheck{
			Protocol: g.check.protocol, Port: g.check.port, Path: g.check.path, Codes: g.check.codes,
			Interval: g.check.every(), Timeout: g.check.patience(),
			HealthyThreshold: g.check.healthy, UnhealthyThreshold: g.check.unhealthy,
		},
		Attributes: maps.Clone(g.attributes), Tags: maps.Clone(g.resource.tags), CreatedAt: g.resource.at,
	}
	if lb := g.loadBalancer(); lb != nil {
		c.LoadBalancerARN = lb.resource.arn
	}
	for _, t := range g.sortedTargets() {
		now := s.condition(g, t)
		c.Targets = append(c.Targets, Target{
			ID: t.id, Port: t.port, Zone: t.zone,
			State: now.State, Reason: now.Reason, Description: now.Description,
			RegisteredAt: t.registeredAt, DeregisteredAt: t.deregisteredAt,
		})
	}
	return c
}

// Listener returns a copy of one listener, as Snapshot has it but without its fault; false
// if it does not exist.
func (e *Emulator) Listener(arn string) (Listener, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, exists := e.state.listeners[arn]
	if !exists {
		return Listener{}, false
	}
	return l.copy(""), true
}

// TargetGroup returns a copy of one target group, as Snapshot has it; false if it does not
// exist.
func (e *Emulator) TargetGroup(arn string) (TargetGroup, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g, exists := e.state.targetGroups[arn]
	if !exists {
		return TargetGroup{}, false
	}
	e.state.now = e.cfg.Now()
	return e.state.copyTargetGroup(g), true
}
