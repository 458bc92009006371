package elbemu

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// healthCheck is the health check configuration of a target group.
type healthCheck struct {
	protocol  string // TCP, HTTP or HTTPS
	port      string // a number or traffic-port
	path      string // empty for TCP
	codes     string // matcher, empty for TCP
	interval  int    // seconds
	timeout   int    // seconds
	healthy   int    // passes in a row until an unhealthy target is healthy
	unhealthy int    // failures in a row until a target is unhealthy
}

const trafficPort = "traffic-port"

// healthCheckGiven holds the health check parameters of a call. Absent fields are nil or
// empty.
type healthCheckGiven struct {
	protocol, port, path, codes           string
	interval, timeout, healthy, unhealthy *int
	enabled                               *bool
}

// supportedChecks are the health check protocols that a Network Load Balancer supports.
var supportedChecks = []string{"TCP", "HTTP", "HTTPS"}

func (p fields) readHealthCheck() healthCheckGiven {
	given := healthCheckGiven{
		protocol:  p.oneOf("HealthCheckProtocol", protocols...),
		port:      p.optional("HealthCheckPort"),
		path:      p.optional("HealthCheckPath"),
		interval:  p.number("HealthCheckIntervalSeconds", 5, 300),
		timeout:   p.number("HealthCheckTimeoutSeconds", 2, 120),
		healthy:   p.number("HealthyThresholdCount", 2, 10),
		unhealthy: p.number("UnhealthyThresholdCount", 2, 10),
		enabled:   p.flag("HealthCheckEnabled"),
	}
	if matcher, ok := p.structure("Matcher"); ok {
		given.codes = matcher.optional("HttpCode")
	}
	if given.port != "" && given.port != trafficPort {
		if n, err := strconv.Atoi(given.port); err != nil || n < 1 || n > 65535 {
			p.f.refuse(invalid("Health check port '%.40s' must be '%s' or a number from 1 to 65535", given.port, trafficPort))
		}
	}
	if given.path != "" && (len(given.path) > 1024 || !strings.HasPrefix(given.path, "/")) {
		p.f.refuse(invalid("Health check path '%.100s' must begin with '/' and have at most 1024 characters", given.path))
	}
	return given
}

// apply returns old with the given parameters changed.
func (given healthCheckGiven) apply(old healthCheck, s *state, targetType string) (healthCheck, *APIError) {
	h := old
	if given.enabled != nil && !*given.enabled {
		return h, refuse(codeInvalidConfiguration, "Health check enabled must be true with groups with target type \"%s\"", targetType)
	}
	if given.protocol != "" && given.protocol != old.protocol {
		if !slices.Contains(supportedChecks, given.protocol) {
			return h, refuse(s.cfg.Switches.HealthCheckProtocolCode, "Health check protocol '%s' must be one of '%s'", given.protocol, strings.Join(supportedChecks, ", "))
		}
		h = healthCheckDefaults(given.protocol, h)
	}
	if h.protocol == "TCP" && given.codes != "" {
		return h, refuse(codeInvalidConfiguration, "Health check matchers are not supported for TCP health checks")
	}
	if h.protocol == "TCP" && given.path != "" {
		return h, refuse(codeInvalidConfiguration, "Health check paths are not supported for TCP health checks")
	}
	if given.codes != "" && !validCodes(given.codes) {
		return h, invalid("Health check matcher HTTP code '%.100s' must be within '200-599'", given.codes)
	}
	setText(&h.port, given.port)
	setText(&h.path, given.path)
	setText(&h.codes, given.codes)
	setNumber(&h.interval, given.interval)
	setNumber(&h.timeout, given.timeout)
	setNumber(&h.healthy, given.healthy)
	setNumber(&h.unhealthy, given.unhealthy)
	if h.timeout > h.interval { // also if the timeout is the default of its protocol
		return h, invalid("Health check interval must be greater than the timeout.")
	}
	return h, nil
}

// healthCheckDefaults returns the defaults of a protocol. Settings that do not depend on
// the protocol are copied from old. Source: the API reference of CreateTargetGroup.
func healthCheckDefaults(protocol string, old healthCheck) healthCheck {
	h := old
	h.protocol, h.path, h.codes, h.timeout = protocol, "", "", 10
	if protocol != "TCP" {
		h.path, h.codes = "/", "200-399"
	}
	if protocol == "HTTP" {
		h.timeout = 6
	}
	return h
}

func newHealthCheck() healthCheck {
	return healthCheckDefaults("TCP", healthCheck{port: trafficPort, interval: 30, healthy: 5, unhealthy: 2})
}

func setText(field *string, value string) {
	if value != "" {
		*field = value
	}
}

func setNumber(field *int, value *int) {
	if value != nil {
		*field = *value
	}
}

// codeRanges parses a matcher such as "200,202" or "200-399".
func codeRanges(matcher string) (ranges [][2]int, ok bool) {
	for part := range strings.SplitSeq(matcher, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, err := strconv.Atoi(first)
		if err != nil {
			return nil, false
		}
		high, err := strconv.Atoi(last)
		if err != nil || low > high {
			return nil, false
		}
		ranges = append(ranges, [2]int{low, high})
	}
	return ranges, true
}

func validCodes(matcher string) bool {
	ranges, ok := codeRanges(matcher)
	return ok && !slices.ContainsFunc(ranges, func(r [2]int) bool { return r[0] < 200 || r[1] > 599 })
}

func (h healthCheck) every() time.Duration { return time.Duration(h.interval) * time.Second }

// portOf returns the health check port of a target.
func (h healthCheck) portOf(targetPort int) int {
	if h.port == trafficPort {
		return targetPort
	}
	n, err := strconv.Atoi(h.port)
	if err != nil {
		return targetPort // readHealthCheck accepts only numbers
	}
	return n
}

func (h healthCheck) patience() time.Duration { return time.Duration(h.timeout) * time.Second }
