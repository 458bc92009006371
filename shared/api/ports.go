package api

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// MaxPorts is how many ports one pod may claim. A load balancer has at most 50 listeners,
// so more ports could never be granted together.
const MaxPorts = 50

var portName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// ParsePorts parses "game=7777/UDP,chat=8080/TCP". The default name is the number, and the
// default protocol is TCP.
func ParsePorts(s string) ([]Port, error) {
	var ports []Port
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		name, rest, named := strings.Cut(item, "=")
		if !named {
			rest = item
		}
		number, protocol, given := strings.Cut(rest, "/")
		if !given {
			protocol = string(TCP)
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("port %q is not of the form name=number/protocol, as in game=7777/UDP", item)
		}
		if !named {
			name = number
		}
		ports = append(ports, Port{Name: name, TargetPort: n, Protocol: Protocol(protocol)})
	}
	return ports, ValidatePorts(ports)
}

// ValidatePorts refuses ports that could never be claimed together.
func ValidatePorts(ports []Port) error {
	if len(ports) == 0 {
		return fmt.Errorf("no ports given: name at least one, as in game=7777/UDP")
	}
	if len(ports) > MaxPorts {
		return fmt.Errorf("%d ports given: a load balancer has room for %d listeners", len(ports), MaxPorts)
	}
	names := make(map[string]bool, len(ports))
	targets := make(map[string]string, 2*len(ports))
	for _, p := range ports {
		if !portName.MatchString(p.Name) {
			return fmt.Errorf("port name %q: use 1-63 lower-case letters, digits and inner hyphens", p.Name)
		}
		if names[p.Name] {
			return fmt.Errorf("port name %q is given twice: names must be unique in the pod", p.Name)
		}
		names[p.Name] = true
		if p.TargetPort < 1 || p.TargetPort > 65535 {
			return fmt.Errorf("target port %d of %q is outside 1-65535", p.TargetPort, p.Name)
		}
		switch p.Protocol {
		case TCP, UDP, TCPUDP:
		default:
			return fmt.Errorf("protocol %q of port %q is unknown: use TCP, UDP or TCP_UDP", p.Protocol, p.Name)
		}
		for _, transport := range p.Protocol.transports() {
			key := fmt.Sprintf("%d/%s", p.TargetPort, transport)
			if other, taken := targets[key]; taken {
				return fmt.Errorf("ports %q and %q both use target port %s", other, p.Name, key)
			}
			targets[key] = p.Name
		}
	}
	return nil
}

// Validate refuses a request that could never be granted.
func (r ClaimRequest) Validate() error {
	if r.PodUID == "" {
		return fmt.Errorf("podUID is empty")
	}
	if r.Pool == "" {
		return fmt.Errorf("pool is empty: name the pool to claim from")
	}
	if err := validatePodIP(r.PodIP); err != nil {
		return err
	}
	if r.HealthPort < 0 || r.HealthPort > 65535 {
		return fmt.Errorf("healthPort %d is outside 1-65535", r.HealthPort)
	}
	if err := ValidatePorts(r.Ports); err != nil {
		return err
	}
	for _, p := range r.Ports {
		if p.Protocol == UDP && r.HealthPort == 0 {
			return fmt.Errorf("port %q has protocol UDP, which a network load balancer cannot check: set a healthPort that answers HTTP", p.Name)
		}
	}
	return r.Failed.validate()
}

func (k FailureKind) validate() error {
	switch k {
	case "", FailedDenied, FailedRefused, FailedCredentials:
		return nil
	}
	return fmt.Errorf("failed is %q: use %s, %s or %s", k, FailedDenied, FailedRefused, FailedCredentials)
}

// Validate refuses a renewal without a usable address.
func (r RenewRequest) Validate() error {
	if r.Describes < 0 || r.Describes > MaxDescribes {
		return fmt.Errorf("describes is %d: ask for 0 to %d", r.Describes, MaxDescribes)
	}
	for _, seconds := range []float64{r.Milestones.Granted, r.Milestones.Bound, r.Milestones.Announced, r.Milestones.Healthy} {
		if seconds < 0 {
			return fmt.Errorf("a milestone is at %v s: use seconds since the agent asked for its claim first", seconds)
		}
	}
	if err := r.Failed.validate(); err != nil {
		return err
	}
	return validatePodIP(r.PodIP)
}

func validatePodIP(s string) error {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("podIP %q is not an IP address: take it from status.podIP", s)
	}
	if ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return fmt.Errorf("podIP %q cannot be a target", s)
	}
	return nil
}

func (p Protocol) transports() []string {
	if p == TCPUDP {
		return []string{"TCP", "UDP"}
	}
	return []string{string(p)}
}
