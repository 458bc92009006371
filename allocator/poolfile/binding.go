package poolfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// duration is written like 90s or 2m.
type duration time.Duration

// UnmarshalJSON reads what time.ParseDuration reads.
func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s is not a duration: write it like 90s or 2m", text)
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it like 90s or 2m", s)
	}
	*d = duration(parsed)
	return nil
}

type healthCheck struct {
	Interval           *duration `json:"interval"`
	Timeout            *duration `json:"timeout"`
	HealthyThreshold   *int      `json:"healthyThreshold"`
	UnhealthyThreshold *int      `json:"unhealthyThreshold"`
}

// check checks the settings against the limits of AWS (CreateTargetGroup, health check
// settings).
func (h healthCheck) check() (api.HealthCheck, error) {
	seconds := func(name string, given *duration, otherwise time.Duration, least, most int) (int, error) {
		d := otherwise
		if given != nil {
			d = time.Duration(*given)
		}
		n := int(d / time.Second)
		if d%time.Second != 0 || n < least || n > most {
			return 0, fmt.Errorf("%s %v: give whole seconds from %ds to %ds", name, d, least, most)
		}
		return n, nil
	}
	threshold := func(name string, given *int) (int, error) {
		if given == nil {
			return defaultThreshold, nil
		}
		if *given < 2 || *given > 10 {
			return 0, fmt.Errorf("%s %d is outside 2-10", name, *given)
		}
		return *given, nil
	}
	var c api.HealthCheck
	var errs [4]error
	c.IntervalSeconds, errs[0] = seconds("interval", h.Interval, defaultInterval, 5, 300)
	timeout := min(defaultTimeout, time.Duration(c.IntervalSeconds)*time.Second/2/time.Second*time.Second)
	c.TimeoutSeconds, errs[1] = seconds("timeout", h.Timeout, timeout, 2, 120)
	c.HealthyThreshold, errs[2] = threshold("healthyThreshold", h.HealthyThreshold)
	c.UnhealthyThreshold, errs[3] = threshold("unhealthyThreshold", h.UnhealthyThreshold)
	if err := errors.Join(errs[:]...); err != nil {
		return c, err
	}
	if c.TimeoutSeconds > c.IntervalSeconds {
		return c, fmt.Errorf("timeout %ds is longer than interval %ds: checks would overlap", c.TimeoutSeconds, c.IntervalSeconds)
	}
	return c, nil
}

// attributes are the attributes of target groups of network load balancers, each with
// a check of its value (AWS, "Edit target group attributes for your Network Load
// Balancer").
var attributes = map[string]func(string) bool{
	"deregistration_delay.timeout_seconds":                                      number(0, 3600),
	"deregistration_delay.connection_termination.enabled":                       boolean,
	"preserve_client_ip.enabled":                                                boolean,
	"proxy_protocol_v2.enabled":                                                 boolean,
	"stickiness.enabled":                                                        boolean,
	"stickiness.type":                                                           func(s string) bool { return s == "source_ip" },
	"target_health_state.unhealthy.connection_termination.enabled":              boolean,
	"target_health_state.unhealthy.draining_interval_seconds":                   number(0, 360000),
	"target_group_health.dns_failover.minimum_healthy_targets.count":            countOrOff,
	"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": countOrOff,
}

func boolean(s string) bool { return s == "true" || s == "false" }

func countOrOff(s string) bool { return s == "off" || number(1, 1000)(s) }

func number(least, most int) func(string) bool {
	return func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n >= least && n <= most && strconv.Itoa(n) == s
	}
}

// checkAttributes refuses attributes that AWS would refuse for every pod.
func checkAttributes(given map[string]string, protocols []api.Protocol) error {
	for key, value := range given {
		valid, known := attributes[key]
		if !known {
			return fmt.Errorf("targetGroupAttributes: %q cannot be set; the attributes that can be set are %s", key, strings.Join(sortedKeys(), ", "))
		}
		if !valid(value) {
			return fmt.Errorf("targetGroupAttributes: %q is not a valid value of %s", value, key)
		}
	}
	udp := slices.ContainsFunc(protocols, func(p api.Protocol) bool { return p != api.TCP })
	for key, refused := range map[string]string{
		"preserve_client_ip.enabled":                                   "false",
		"target_health_state.unhealthy.connection_termination.enabled": "true",
	} {
		if udp && given[key] == refused {
			return fmt.Errorf("targetGroupAttributes: AWS refuses %s=%s for UDP and TCP_UDP: put TCP into a pool of its own", key, refused)
		}
	}
	return nil
}

func sortedKeys() []string {
	var keys []string
	for key := range attributes {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
