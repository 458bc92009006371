package ledger

import (
	"cmp"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// PortState is the state of a listener port.
type PortState string

// A port goes free → claimed → bound → releasing → cooldown → free. The intent is
// recorded first: claimed before anything exists in AWS, releasing before anything is
// deleted. Only the janitor ends a cooldown.
const (
	Free      PortState = "free"
	Claimed   PortState = "claimed"
	Bound     PortState = "bound"
	Releasing PortState = "releasing"
	Cooldown  PortState = "cooldown"
	// Blocked is a port without a holder that nobody may claim: an admin blocked it,
	// or a foreign listener is on it.
	Blocked PortState = "blocked"
)

// Port is the record of one listener port. It outlives its holders.
type Port struct {
	LoadBalancerARN string    `json:"loadBalancerARN"`
	ListenerPort    int       `json:"listenerPort"`
	State           PortState `json:"state"`
	// Holder names the claim lease that holds the port; empty if none does. It stays
	// while releasing, because the binding is still the holder's.
	Holder string `json:"-"`
	// Epoch and Generation make the fence of the current or last holder.
	Epoch      string `json:"epoch"`
	Generation int    `json:"-"`
	// Namespace, Pod and PodUID are the current or last holder's.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"podUID,omitempty"`
	// PortName is the holder's name for the port.
	PortName string `json:"portName,omitempty"`
	// TargetGroupARN is the license to create the listener. Once it is recorded, the
	// port is not free before that target group is gone.
	TargetGroupARN string `json:"targetGroupARN,omitempty"`
	// ListenerARN is the last reported listener. While the port is not bound, the
	// listener may be gone or damaged.
	ListenerARN string `json:"listenerARN,omitempty"`
	// Restored marks a lease that was lost and written again, until its target group
	// is recorded again: a binding may exist that the ledger does not know.
	Restored bool `json:"restored,omitempty"`
	// NextEpoch is set in a lease that was lost and written again for a holding: there may have
	// been later ones, so the next begins this epoch.
	NextEpoch string `json:"nextEpoch,omitempty"`
	// TargetHealth is what AWS last said of the holder's target.
	TargetHealth string `json:"targetHealth,omitempty"`
	// Agent is the part of the holder's agent while releasing.
	Agent AgentPart `json:"agent,omitempty"`
	// Registering is set while releasing if the binding was not complete when the release
	// began: AWS may still apply a registration that the agent had sent.
	Registering bool `json:"registering,omitempty"`
	// Deregistered is set while releasing once the targets are deregistered.
	Deregistered bool `json:"deregistered,omitempty"`
	// CooldownTime is how long the port stays unused after this holding.
	CooldownTime time.Duration `json:"cooldown,omitempty"`
	// BlockedBy says which admin blocked the port and why; empty if none did.
	BlockedBy string `json:"blockedBy,omitempty"`
	// Foreign is the ARN of a foreign listener on the port.
	Foreign string `json:"foreign,omitempty"`
	// UpdatedAt is for people, and makes every write a change. No decision compares it
	// with a clock.
	UpdatedAt time.Time `json:"-"`
	// AcquiredAt is for people: when its holder took the port.
	AcquiredAt time.Time `json:"-"`
}

// AgentPart is what the holder's agent does while its port is released.
type AgentPart string

const (
	// AgentAbsent leaves all the work to the janitor.
	AgentAbsent AgentPart = ""
	// AgentDeregistering expects the agent to deregister its targets; the janitor gives it
	// a moment, and does the rest.
	AgentDeregistering AgentPart = "deregistering"
	// AgentUnbinding expects the agent to deregister its targets and to delete the
	// binding; the janitor gives it time.
	AgentUnbinding AgentPart = "unbinding"
	// AgentDone is the agent's report that the binding is gone; the janitor checks it.
	AgentDone AgentPart = "done"
)

// Fence of the current or last holder.
func (p Port) Fence(lease string) api.Fence {
	return api.Fence{Lease: lease, Epoch: p.Epoch, Generation: p.Generation}
}

// NextFence is the fence of the next holding. A port that had no holder yet has no epoch, and
// any new one will do.
func (p Port) NextFence(lease, newEpoch string) api.Fence {
	f := api.Fence{Lease: lease, Epoch: cmp.Or(p.NextEpoch, p.Epoch), Generation: p.Generation + 1}
	if p.Generation == 0 {
		f.Epoch = newEpoch
	}
	return f
}

// HeldBy reports whether the claim holds the port by this fence, and does not release
// it.
func (p Port) HeldBy(claim string, f api.Fence) bool {
	return p.Holds(claim, f) && (p.State == Claimed || p.State == Bound)
}

// Holds is like HeldBy but also true while the holding is being released.
func (p Port) Holds(claim string, f api.Fence) bool {
	return p.Holder == claim && p.Epoch == f.Epoch && p.Generation == f.Generation
}

// Follows reports whether this is a later record of a port that had that fence. The port
// is then never free before the listener of that fence is gone.
func (p Port) Follows(f api.Fence) bool { return p.Epoch == f.Epoch && p.Generation >= f.Generation }

// Knows returns a check whether the record of a port, as the cache has it, follows a fence.
func Knows(cached func(lease string) (Record[Port], bool)) func(api.Fence) bool {
	return func(f api.Fence) bool {
		r, exists := cached(f.Lease)
		return exists && r.Value.Follows(f)
	}
}

// Held reports whether a claim holds the port or releases it.
func (p Port) Held() bool { return p.State == Claimed || p.State == Bound || p.State == Releasing }

// BeginRelease returns a held port as it is once its holding is over. Without a
// recorded target group no listener can ever come, because recording it is the license
// to create one; so the port is free at once.
//
// agent is the agent's part in deleting the binding if there may be one.
func (p Port) BeginRelease(agent AgentPart) Port {
	if p.TargetGroupARN == "" && !p.Restored {
		p.Holder = ""
		return p.Rest()
	}
	p.Registering, p.Deregistered = p.State != Bound, false
	p.State, p.Agent = Releasing, agent
	return p
}

// NeedsDeregistering reports whether a releasing port has a recorded target group that may
// still have its holder as a target.
func (p Port) NeedsDeregistering() bool { return p.TargetGroupARN != "" && !p.Deregistered }

// AddressFree reports whether a releasing port no longer forwards to its holder's address,
// and never will again. A registration that is still under way can only fail once the
// target group is deleted.
func (p Port) AddressFree() bool { return p.Deregistered && !p.Registering }

// Rest returns a port that has no holder and no cooldown: free or blocked.
func (p Port) Rest() Port {
	p.State = Free
	if p.BlockedBy != "" || p.Foreign != "" {
		p.State = Blocked
	}
	return p
}

// Reconsidered returns a port after BlockedBy or Foreign has changed. A holder keeps
// the port, and a cooldown goes on.
func (p Port) Reconsidered() Port {
	if p.Held() || p.State == Cooldown {
		return p
	}
	return p.Rest()
}
