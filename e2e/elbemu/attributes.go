package elbemu

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// attributes maps attribute keys to values.
type attributes map[string]string

type xmlAttribute struct{ Key, Value string }

// check returns the error in a value, or an empty string.
type check func(value string) string

func among(values ...string) check {
	return func(value string) string {
		if slices.Contains(values, value) {
			return ""
		}
		return "must be one of " + strings.Join(values, ", ")
	}
}

func between(low, high int) check {
	return func(value string) string {
		if n, err := strconv.Atoi(value); err == nil && n >= low && n <= high {
			return ""
		}
		return "must be an integer from " + strconv.Itoa(low) + " to " + strconv.Itoa(high)
	}
}

// offOr also accepts the value "off".
func offOr(other check) check {
	return func(value string) string {
		if value == "off" {
			return ""
		}
		return other(value)
	}
}

func anything(string) string { return "" }

var boolean = among("true", "false")

var loadBalancerChecks = map[string]check{
	"deletion_protection.enabled":            boolean,
	"load_balancing.cross_zone.enabled":      boolean,
	"access_logs.s3.enabled":                 boolean,
	"access_logs.s3.bucket":                  anything,
	"access_logs.s3.prefix":                  anything,
	"ipv6.deny_all_igw_traffic":              boolean,
	"zonal_shift.config.enabled":             boolean,
	"dns_record.client_routing_policy":       among("any_availability_zone", "availability_zone_affinity", "partial_availability_zone_affinity"),
	"secondary_ips.auto_assigned.per_subnet": between(0, 7),
}

const (
	attrDeletionProtection = "deletion_protection.enabled"
	attrCrossZone          = "load_balancing.cross_zone.enabled"
	attrDrainSeconds       = "deregistration_delay.timeout_seconds"
	attrDrainTerminates    = "deregistration_delay.connection_termination.enabled"
	attrPreserveClientIP   = "preserve_client_ip.enabled"
	attrProxyProtocol      = "proxy_protocol_v2.enabled"
	attrUnhealthyCuts      = "target_health_state.unhealthy.connection_termination.enabled"
	attrUnhealthyDrain     = "target_health_state.unhealthy.draining_interval_seconds"
	attrIdleTimeout        = "tcp.idle_timeout.seconds"
)

var targetGroupChecks = map[string]check{
	attrDrainSeconds:     between(0, 3600),
	attrDrainTerminates:  boolean,
	attrPreserveClientIP: boolean,
	attrProxyProtocol:    boolean,
	"stickiness.enabled": boolean,
	"stickiness.type":    among("source_ip"),
	attrCrossZone:        among("true", "false", "use_load_balancer_configuration"),
	attrUnhealthyCuts:    boolean,
	attrUnhealthyDrain:   between(0, 360000),
	"target_group_health.dns_failover.minimum_healthy_targets.count":                 offOr(between(1, 1000)),
	"target_group_health.dns_failover.minimum_healthy_targets.percentage":            offOr(between(1, 100)),
	"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":      between(1, 1000),
	"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": offOr(between(1, 100)),
}

var listenerChecks = map[string]check{attrIdleTimeout: between(60, 6000)}

// newLoadBalancerAttributes returns the defaults of a Network Load Balancer.
func newLoadBalancerAttributes(scheme string) attributes {
	return attributes{
		attrDeletionProtection:                   "false",
		attrCrossZone:                            "false",
		"access_logs.s3.enabled":                 "false",
		"access_logs.s3.bucket":                  "",
		"access_logs.s3.prefix":                  "",
		"ipv6.deny_all_igw_traffic":              strconv.FormatBool(scheme == "internal"),
		"zonal_shift.config.enabled":             "false",
		"dns_record.client_routing_policy":       "any_availability_zone",
		"secondary_ips.auto_assigned.per_subnet": "0",
	}
}

// newTargetGroupAttributes returns the defaults of a Network Load Balancer's target group.
// Source: the API model's TargetGroupAttribute.
func newTargetGroupAttributes(protocol, targetType string) attributes {
	streamOnly := protocol == "TCP" || protocol == "TLS"
	return attributes{
		attrDrainSeconds:     "300",
		attrDrainTerminates:  strconv.FormatBool(protocol == "UDP" || protocol == "TCP_UDP"),
		attrPreserveClientIP: strconv.FormatBool(targetType != "ip" || !streamOnly),
		attrProxyProtocol:    "false",
		"stickiness.enabled": "false",
		"stickiness.type":    "source_ip",
		attrCrossZone:        "use_load_balancer_configuration",
		attrUnhealthyCuts:    strconv.FormatBool(streamOnly),
		attrUnhealthyDrain:   "0",
		"target_group_health.dns_failover.minimum_healthy_targets.count":                 "1",
		"target_group_health.dns_failover.minimum_healthy_targets.percentage":            "off",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":      "1",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
	}
}

func (a attributes) seconds(key string) int {
	n, err := strconv.Atoi(a[key])
	if err != nil {
		return 0 // the checks admit integers only
	}
	return n
}

func (a attributes) xml() []xmlAttribute {
	list := make([]xmlAttribute, 0, len(a))
	for _, key := range slices.Sorted(maps.Keys(a)) {
		list = append(list, xmlAttribute{key, a[key]})
	}
	return list
}

// readAttributes parses and validates the attributes of a Modify call.
func (p fields) readAttributes(of string, checks map[string]check) attributes {
	wanted := attributes{}
	list := p.members("Attributes")
	if len(list) == 0 {
		p.f.refuse(invalid("1 validation error detected: Value null at 'attributes' failed to satisfy constraint: Member must not be null"))
	}
	for _, m := range list {
		key, value := m.required("Key"), m.optional("Value")
		verify, known := checks[key]
		if !known {
			p.f.refuse(invalid("%s attribute key '%.200s' is not recognized", of, key))
			continue
		}
		if problem := verify(value); problem != "" {
			p.f.refuse(invalid("%s attribute '%s' %s, not '%.100s'", of, key, problem, value))
		}
		if _, twice := wanted[key]; twice {
			p.f.refuse(invalid("%s attribute key '%s' cannot be specified more than once", of, key))
		}
		wanted[key] = value
	}
	return wanted
}

type attributesResult struct{ Attributes members[xmlAttribute] }
