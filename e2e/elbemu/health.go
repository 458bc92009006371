package elbemu

import (
	"strconv"
	"time"
)

// health holds the results of one target's checks since its group was last attached.
type health struct {
	begun          time.Time // start of the first interval; zero until the first check is planned
	next           time.Time // when the next check is due
	verdict        verdict
	passes         int       // in a row
	failures       int       // in a row
	unhealthySince time.Time // when the target last became unhealthy
	checking       bool      // a real check is running
}

type verdict int

const (
	undecided verdict = iota
	healthy
	unhealthy
)

// condition is a target's state as DescribeTargetHealth returns it.
type condition struct {
	State, Reason, Description string
}

// Conditions, with the texts of the user guide "Health checks for Network Load Balancer
// target groups".
var (
	notRegistered = condition{"unused", "Target.NotRegistered", "Target is not registered to the target group"}
	notInUse      = condition{"unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"}
	zoneNotInUse  = condition{"unused", "Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer"}
	registering   = condition{"initial", "Elb.RegistrationInProgress", "Target registration is in progress"}
	firstChecks   = condition{"initial", "Elb.InitialHealthChecking", "Initial health checks in progress"}
	isHealthy     = condition{State: "healthy"}
	isUnhealthy   = condition{"unhealthy", "Target.FailedHealthChecks", "Health checks failed"}
	isLeaving     = condition{"unhealthy.draining", "Target.FailedHealthChecks", "Health checks failed"}
	isDraining    = condition{"draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"}
)

// condition returns a target's current state.
func (s *state) condition(g *targetGroup, t *target) condition {
	lb := g.loadBalancer()
	switch {
	case t.draining():
		return isDraining
	case lb == nil:
		return notInUse
	case !lb.inZone(t.zone):
		return zoneNotInUse
	}
	s.advance(g, t)
	switch {
	case s.now.Before(s.firstCheckAt(g, t)):
		return registering
	case t.health.verdict == healthy:
		return isHealthy
	case t.health.verdict == unhealthy && s.leaving(g, t):
		return isLeaving
	case t.health.verdict == unhealthy:
		return isUnhealthy
	}
	return firstChecks
}

// leaving reports whether an unhealthy target is still in its draining interval.
func (s *state) leaving(g *targetGroup, t *target) bool {
	interval := time.Duration(g.attributes.seconds(attrUnhealthyDrain)) * time.Second
	return g.attributes[attrUnhealthyCuts] == "false" && s.now.Before(t.health.unhealthySince.Add(interval))
}

// firstCheckAt returns when the load balancer starts to check a target.
func (s *state) firstCheckAt(g *targetGroup, t *target) time.Time {
	since := t.registeredAt
	if g.attachedAt.After(since) {
		since = g.attachedAt
	}
	return since.Add(s.cfg.Delays.Registration)
}

// checked reports whether the load balancer checks the target.
func (s *state) checked(g *targetGroup, t *target) bool {
	lb := g.loadBalancer()
	return lb != nil && !t.draining() && lb.inZone(t.zone)
}

// due reports whether it is time for the next check of the target.
func (s *state) due(g *targetGroup, t *target) bool {
	if !s.checked(g, t) {
		return false
	}
	if t.health.begun.IsZero() {
		t.health.begun = s.firstCheckAt(g, t)
		t.health.next = t.health.begun
	}
	return !s.now.Before(t.health.next)
}

// advance runs the checks that were due since the last call. Config.Healthy knows only the
// present, so all of them get its current result. With real checks, the data plane runs
// them instead.
func (s *state) advance(g *targetGroup, t *target) {
	if s.cfg.DataPlane && s.cfg.Healthy == nil || !s.due(g, t) {
		return
	}
	pass := s.cfg.Healthy == nil || s.cfg.Healthy(t.id, g.check.portOf(t.port))
	for first := t.health.next; !s.now.Before(t.health.next); {
		s.observe(g, t, pass, t.health.next)
		if t.health.next.Sub(first) > 10*g.check.every() { // more than any threshold
			missed := s.now.Sub(t.health.next) / g.check.every()
			t.health.next = t.health.next.Add((missed + 1) * g.check.every())
		}
	}
}

// observe records one check. A new target is healthy after its first pass, whatever the
// threshold. The threshold applies only to targets that were unhealthy.
func (s *state) observe(g *targetGroup, t *target, pass bool, at time.Time) {
	h := &t.health
	before := h.verdict
	h.next = at.Add(g.check.every())
	if pass {
		h.passes, h.failures = h.passes+1, 0
	} else {
		h.passes, h.failures = 0, h.failures+1
	}
	switch {
	case pass && (h.verdict == undecided || h.passes >= g.check.healthy):
		h.verdict = healthy
	case !pass && h.failures >= g.check.unhealthy && h.verdict != unhealthy:
		h.verdict, h.unhealthySince = unhealthy, at
	}
	if h.verdict == before {
		return
	}
	s.changed()
	if h.verdict == unhealthy && g.attributes[attrUnhealthyCuts] == "true" && g.anyHealthy() {
		s.cutFlows(Cut{TargetGroup: g.resource.arn, Target: t.id, Port: t.port})
	}
}

// anyHealthy returns false if the load balancer fails open for this group.
func (g *targetGroup) anyHealthy() bool {
	for _, t := range g.targets {
		if !t.draining() && t.health.verdict == healthy {
			return true
		}
	}
	return false
}

type xmlTarget struct {
	ID               string `xml:"Id"`
	Port             int    `xml:",omitempty"`
	AvailabilityZone string `xml:",omitempty"`
	QuicServerID     string `xml:"QuicServerId,omitempty"`
}

type xmlTargetHealth struct {
	State       string
	Reason      string `xml:",omitempty"`
	Description string `xml:",omitempty"`
}

type xmlHealthDescription struct {
	Target          xmlTarget
	HealthCheckPort string
	TargetHealth    xmlTargetHealth
}

func decodeDescribeTargetHealth(p fields) step {
	arn, asked := p.required("TargetGroupArn"), p.readTargets()
	type result struct {
		TargetHealthDescriptions members[xmlHealthDescription]
	}
	return func(s *state) (any, *APIError) {
		g, err := s.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		s.removeDrained(g)
		var found []xmlHealthDescription
		if len(asked) == 0 {
			for _, t := range g.sortedTargets() {
				found = append(found, s.describeHealth(g, t))
			}
		}
		for _, given := range asked {
			key := given.key(g)
			if t, ok := g.targets[key]; ok {
				found = append(found, s.describeHealth(g, t))
				continue
			}
			found = append(found, describe(g, xmlTarget{ID: key.id, Port: key.port}, notRegistered))
		}
		return result{listOf(found)}, nil
	}
}

func (s *state) describeHealth(g *targetGroup, t *target) xmlHealthDescription {
	return describe(g, xmlTarget{ID: t.id, Port: t.port, AvailabilityZone: t.zone, QuicServerID: t.quicServerID}, s.condition(g, t))
}

func describe(g *targetGroup, x xmlTarget, c condition) xmlHealthDescription {
	return xmlHealthDescription{
		Target:          x,
		HealthCheckPort: strconv.Itoa(g.check.portOf(x.Port)),
		TargetHealth:    xmlTargetHealth(c),
	}
}
