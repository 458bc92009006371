package ledger

import (
	"time"

	"github.com/portlease/portlease/shared/api"
)

// ClaimState is the state of a claim.
type ClaimState string

const (
	// Waiting is a claim without ports, or one that does not hold all its planned
	// ports yet.
	Waiting ClaimState = "waiting"
	// Granted is a claim that holds all its ports.
	Granted ClaimState = "granted"
	// ClaimReleasing is a claim that its holder or the janitor releases.
	ClaimReleasing ClaimState = "releasing"
)

// Claim is the record of one pod's claim.
type Claim struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	PodIP     string `json:"podIP"`
	// ConfirmedIP is a pod IP that no other live claim is known to record. A claim that
	// records it later sees this one and waits.
	ConfirmedIP string `json:"confirmedIP,omitempty"`
	// PreviousIP is the IP that the pod had before and that may still be a target. It
	// is recorded until the agent reports that it is deregistered.
	PreviousIP string `json:"previousIP,omitempty"`
	// AddressChanges is how often the pod IP has changed. It tells apart what agents
	// report of previous IPs.
	AddressChanges int        `json:"addressChanges,omitempty"`
	Pool           string     `json:"pool"`
	State          ClaimState `json:"state"`
	// Agent is the part of the pod's agent while the claim is released. Its ports get
	// it when their release begins.
	Agent AgentPart `json:"agent,omitempty"`
	// Requested is what the pod asked for, in its order.
	Requested  []api.Port `json:"requested"`
	HealthPort int        `json:"healthPort,omitempty"`
	// LoadBalancer and Ports are the plan. It is written before any of its ports is
	// taken. A taken port that no plan lists is released.
	LoadBalancer api.LoadBalancer `json:"loadBalancer,omitzero"`
	Ports        []PlannedPort    `json:"ports,omitempty"`
	// Planned is set with the first plan. Before that, the claim lease may have been
	// deleted and created again, and the claim keeps the ports that it holds. After
	// that, a port that it holds and does not list was given up.
	Planned bool `json:"planned,omitempty"`
	// Admitted is set once the claim fits the quota of its namespace. It is not used in
	// pools without such a quota.
	Admitted bool `json:"admitted,omitempty"`
	// Retries paces attempts to bind that fail.
	Retries Retries `json:"retries,omitzero"`
	// Duration is how long the claim lasts without a renewal.
	Duration time.Duration `json:"-"`
	// RenewedAt is for people, and makes every renewal a change. Each replica times
	// expiry by the changes that it has seen itself, never by this.
	RenewedAt time.Time `json:"-"`
	// AcquiredAt is for people: when the pod asked first.
	AcquiredAt time.Time `json:"-"`
}

// PlannedPort is one port of a plan, in the order of Claim.Requested.
type PlannedPort struct {
	ListenerPort int `json:"listenerPort"`
	// Fence is the one the port has once it is taken for this plan.
	Fence api.Fence `json:"fence"`
	// HealthCheck is fixed for the life of the holding, so that a repeated create call
	// is the same call.
	HealthCheck api.HealthCheck   `json:"healthCheck"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	// Cooldown of the port after this holding.
	Cooldown time.Duration `json:"cooldown,omitempty"`
}

// Lists reports whether the claim's plan has a port with that fence.
func (c Claim) Lists(f api.Fence) bool {
	for _, p := range c.Ports {
		if p.Fence == f {
			return true
		}
	}
	return false
}

// Holding is the record of planned port i once the claim holds it. name is the claim
// lease.
func (c Claim) Holding(name string, i int, now time.Time) Port {
	p := c.Ports[i]
	portName := ""
	if i < len(c.Requested) { // or somebody has edited the Lease
		portName = c.Requested[i].Name
	}
	return Port{
		LoadBalancerARN: c.LoadBalancer.ARN, ListenerPort: p.ListenerPort, State: Claimed,
		Holder: name, Epoch: p.Fence.Epoch, Generation: p.Fence.Generation,
		Namespace: c.Namespace, Pod: c.Pod, PodUID: c.PodUID,
		PortName: portName, CooldownTime: p.Cooldown, UpdatedAt: now, AcquiredAt: now,
	}
}

// Records reports whether an IP is the pod's, or may still be its target.
func (c Claim) Records(ip string) bool { return c.PodIP == ip || c.PreviousIP == ip }

// MovedTo returns the claim of a pod whose IP has changed. While a previous IP is
// recorded the pod cannot have registered its present one.
func (c Claim) MovedTo(ip string) Claim {
	if c.PreviousIP == "" && len(c.Ports) > 0 {
		c.PreviousIP = c.PodIP
	}
	if c.PreviousIP == ip {
		c.PreviousIP = ""
	}
	c.PodIP, c.ConfirmedIP = ip, ""
	c.AddressChanges++
	return c
}
