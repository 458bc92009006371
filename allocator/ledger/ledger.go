// Package ledger names what the allocator knows: claims and ports.
//
// The ledger is all Leases of one installation, and it is the truth; whatever is
// in memory is a view that may be late. Every change is compare-and-swap on the
// version that was read, so any number of replicas may decide at once and one of
// them is right. This package holds the records and the contract of the tables
// they lie in; how they are written into Leases is package kubelease's business.
package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/shared/api"
)

// PortState is where a listener port stands.
type PortState string

// A port goes free → claimed → bound → releasing → cooldown → free. The intent
// is written before the act: claimed before anything exists in AWS, releasing
// before anything is deleted. Only the janitor turns cooldown into free.
const (
	Free      PortState = "free"
	Claimed   PortState = "claimed"
	Bound     PortState = "bound"
	Releasing PortState = "releasing"
	Cooldown  PortState = "cooldown"
	// Blocked is a port that nobody holds and nobody may have: a person closed it,
	// or somebody else's listener is there.
	Blocked PortState = "blocked"
)

// Port is the record of one listener port. It outlives its holders.
type Port struct {
	LoadBalancerARN string    `json:"loadBalancerARN"`
	ListenerPort    int       `json:"listenerPort"`
	State           PortState `json:"state"`
	// Holder names the claim lease that has the port; empty when nobody has.
	// It is kept while releasing, because the binding is still the holder's.
	Holder string `json:"-"`
	// Epoch and Generation make the fence of the current or last holder.
	Epoch      string `json:"epoch"`
	Generation int    `json:"-"`
	// Namespace, Pod and PodUID are the current or last holder's.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"podUID,omitempty"`
	// PortName is what the holder calls the port.
	PortName string `json:"portName,omitempty"`
	// TargetGroupARN is the license to create the listener. Once it is recorded
	// the port is not free before that target group is gone.
	TargetGroupARN string `json:"targetGroupARN,omitempty"`
	// ListenerARN is the listener that was reported last. While the port is not
	// bound it may be gone, or damaged.
	ListenerARN string `json:"listenerARN,omitempty"`
	// Restored is a lease that was lost and written again, until its target group
	// is recorded anew: there may be a binding that the ledger has forgotten.
	Restored bool `json:"restored,omitempty"`
	// Agent is the part of the holder's own agent while releasing.
	Agent AgentPart `json:"agent,omitempty"`
	// CooldownTime is how long the port stays unused after this holding.
	CooldownTime time.Duration `json:"cooldown,omitempty"`
	// BlockedBy says which admin blocked the port and why; empty if none did.
	BlockedBy string `json:"blockedBy,omitempty"`
	// Foreign is the ARN of a listener on the port that is not this ledger's.
	Foreign string `json:"foreign,omitempty"`
	// UpdatedAt is for people and makes every write a change; no decision
	// compares it with a clock.
	UpdatedAt time.Time `json:"-"`
}

// AgentPart is what the holder's agent does while its port is released.
type AgentPart string

const (
	// AgentAbsent leaves the whole work to the janitor.
	AgentAbsent AgentPart = ""
	// AgentUnbinding is expected to delete the binding; the janitor gives it time.
	AgentUnbinding AgentPart = "unbinding"
	// AgentDone says that the binding is gone; the janitor has a look.
	AgentDone AgentPart = "done"
)

// Fence of the current or last holder.
func (p Port) Fence(lease string) api.Fence {
	return api.Fence{Lease: lease, Epoch: p.Epoch, Generation: p.Generation}
}

// HeldBy tells whether this very holding is the claim's: right holder, right
// fence, and not on its way out.
func (p Port) HeldBy(claim string, f api.Fence) bool {
	return p.Holds(claim, f) && (p.State == Claimed || p.State == Bound)
}

// Holds is like HeldBy but also true while the holding is being released.
func (p Port) Holds(claim string, f api.Fence) bool {
	return p.Holder == claim && p.Epoch == f.Epoch && p.Generation == f.Generation
}

// BeginRelease gives the state a held port goes to when its holding is over. Without a
// recorded target group no listener can ever come, because recording it is the
// license to create one; so the port is free at once.
//
// agent says who deletes the binding if there may be one.
func (p Port) BeginRelease(agent AgentPart) Port {
	if p.TargetGroupARN == "" && !p.Restored {
		p.Holder = ""
		return p.Rest()
	}
	p.State, p.Agent = Releasing, agent
	return p
}

// Rest gives the state of a port that nobody holds and that has cooled down.
func (p Port) Rest() Port {
	p.State = Free
	if p.BlockedBy != "" || p.Foreign != "" {
		p.State = Blocked
	}
	return p
}

// Reconsidered gives the state of a port after Closed or Foreign has changed: who
// holds it keeps it, and what cools down goes on cooling down.
func (p Port) Reconsidered() Port {
	if p.Held() || p.State == Cooldown {
		return p
	}
	return p.Rest()
}

// Held tells whether somebody has the port or is giving it back.
func (p Port) Held() bool { return p.State == Claimed || p.State == Bound || p.State == Releasing }

// ClaimState is where a claim stands.
type ClaimState string

const (
	// Waiting is a claim that has no ports yet, or whose ports are planned but
	// not all taken.
	Waiting ClaimState = "waiting"
	// Granted is a claim whose ports are all taken.
	Granted ClaimState = "granted"
	// ClaimReleasing is a claim that is being released, by its holder or the janitor.
	ClaimReleasing ClaimState = "releasing"
)

// Claim is the record of one pod's claim.
type Claim struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	PodIP     string `json:"podIP"`
	// ConfirmedIP is the address of which it is known that no other live pod's claim
	// records it. Whoever records it later sees this claim and gives way.
	ConfirmedIP string `json:"confirmedIP,omitempty"`
	// PreviousIP is an address that the pod had before and that may still be a target
	// of its target groups. It is recorded until the agent has said that it is not.
	PreviousIP string `json:"previousIP,omitempty"`
	// AddressChanges is how often the pod's address has changed. It tells apart what
	// agents say of former addresses.
	AddressChanges int        `json:"addressChanges,omitempty"`
	Pool           string     `json:"pool"`
	State          ClaimState `json:"state"`
	// Agent is the part of the pod's agent once the claim ends; its ports get it
	// with their release.
	Agent AgentPart `json:"agent,omitempty"`
	// Requested is what the pod asked for, in its order.
	Requested  []api.Port `json:"requested"`
	HealthPort int        `json:"healthPort,omitempty"`
	// LoadBalancer and Ports are the plan. A plan is written before any of its
	// ports is taken, and a taken port that no plan lists is given back.
	LoadBalancer api.LoadBalancer `json:"loadBalancer,omitzero"`
	Ports        []PlannedPort    `json:"ports,omitempty"`
	// Planned is set with the first plan. Before that the claim may have been begun
	// anew, and what it holds is remembered; after that, what it holds and does not
	// list was given up.
	Planned bool `json:"planned,omitempty"`
	// Duration is how long the claim lasts without a renewal.
	Duration time.Duration `json:"-"`
	// RenewedAt is for people and makes every renewal a change. Expiry is judged
	// by the changes a replica saw itself, never by this.
	RenewedAt time.Time `json:"-"`
}

// PlannedPort is one port of a plan, in the order of Claim.Requested.
type PlannedPort struct {
	ListenerPort int `json:"listenerPort"`
	// Fence is the one the port has once it is taken for this plan.
	Fence api.Fence `json:"fence"`
	// HealthCheck is fixed here for the life of the holding, so that repeating
	// a create call repeats the very same call.
	HealthCheck api.HealthCheck   `json:"healthCheck"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	// Cooldown of the port after this holding.
	Cooldown time.Duration `json:"cooldown,omitempty"`
}

// Cordon is what people say of one load balancer, whatever pools it is in.
type Cordon struct {
	LoadBalancerARN string `json:"loadBalancerARN"`
	// Cordoned says who wants no new claims on it and why; empty if nobody does.
	Cordoned  string    `json:"cordoned,omitempty"`
	UpdatedAt time.Time `json:"-"`
}

// Budget is what is left of the account's token buckets, as of the last write.
// What was refilled since then each replica reckons by its own clock.
type Budget struct {
	budget.State
	UpdatedAt time.Time `json:"-"`
}

// Lists tells whether the claim's plan accounts for a holding.
func (c Claim) Lists(f api.Fence) bool {
	for _, p := range c.Ports {
		if p.Fence == f {
			return true
		}
	}
	return false
}

// Records tells whether an address is the pod's, or may be its target still.
func (c Claim) Records(ip string) bool { return c.PodIP == ip || c.PreviousIP == ip }

// MovedTo gives the claim of a pod that has another address. While a former
// address is recorded the pod cannot have registered the one it has.
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

// ClaimName is the name of the claim lease of a pod.
func ClaimName(podUID string) string { return "claim-" + podUID }

// PortName is the name of the port lease of a listener port.
func PortName(loadBalancerID string, listenerPort int) string {
	return fmt.Sprintf("%s-%d", loadBalancerID, listenerPort)
}

// CordonName is the name of the Lease of a load balancer.
func CordonName(loadBalancerID string) string { return "lb-" + loadBalancerID }

// BudgetName is the name of the one Lease that holds the AWS budget.
const BudgetName = "portlease-budget"

// SplitPortName is the inverse of PortName.
func SplitPortName(name string) (loadBalancerID string, listenerPort int, ok bool) {
	cut := strings.LastIndexByte(name, '-')
	if cut < 0 {
		return "", 0, false
	}
	listenerPort, err := strconv.Atoi(name[cut+1:])
	return name[:cut], listenerPort, err == nil
}

// LoadBalancerID is the part of a network load balancer's ARN that is unique and
// short: its last segment.
func LoadBalancerID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// ID is the ledger's id: two installations never have the same, even in one
// AWS account or one cluster.
func ID(kubeSystemUID, namespace string) string { return kubeSystemUID + "/" + namespace }
