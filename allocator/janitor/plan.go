package janitor

import (
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Kind says what an action does.
type Kind string

const (
	// CheckExpiry reads the pod of an expired claim and releases the claim if the pod is
	// gone.
	CheckExpiry Kind = "check expiry"
	// BeginRelease begins to release a held port whose claim is releasing.
	BeginRelease Kind = "begin release"
	// CheckOwner reads a held port that no claim lists, and its claim, and releases the
	// port if that is so.
	CheckOwner Kind = "check owner"
	// Deregister deregisters the targets of a releasing port.
	Deregister Kind = "deregister"
	// Unbind deletes the binding of a releasing port.
	Unbind Kind = "unbind"
	// EndCooldown frees a port whose cooldown is over.
	EndCooldown Kind = "end cooldown"
	// DeleteClaim deletes the claim lease of a released claim that holds no port, and restores
	// its port leases that are lost.
	DeleteClaim Kind = "delete claim"
)

// Action is one step of a plan. Exactly one of Claim and Port is set. The plan comes
// from the cache, which may be stale, so an action reads again and writes by
// compare-and-swap.
type Action struct {
	Kind  Kind
	Claim *ledger.Record[ledger.Claim]
	Port  *ledger.Record[ledger.Port]
	// Agent is the agent's part in a BeginRelease.
	Agent ledger.AgentPart
}

// Timing is how long a plan waits, by this process's own clock.
type Timing struct {
	// ClaimDuration is how long a claim without a renewal lasts.
	ClaimDuration time.Duration
	// AgentGrace is how long an agent may take to unbind its own port.
	AgentGrace time.Duration
	// DeregisterGrace is how long an agent may take to deregister its own targets.
	DeregisterGrace time.Duration
	// TargetGroupLag is for how long AWS may not know a new target group. Until then it may
	// answer that the group is deleted although it exists.
	TargetGroupLag time.Duration
	// InUseWindow is for how long AWS reports a target group as in use after its listener was
	// deleted.
	InUseWindow time.Duration
}

// Plan returns the actions that the ledger calls for, in the order to carry them out.
// age is how long this process has seen a version of a lease. So nothing expires within
// one full duration after the process started.
func Plan(claims []*ledger.Record[ledger.Claim], ports []*ledger.Record[ledger.Port], age func(name, version string) time.Duration, t Timing) []Action {
	var actions []Action
	byName := make(map[string]*ledger.Claim, len(claims))
	for _, c := range claims {
		byName[c.Name] = &c.Value
	}
	for _, p := range ports {
		holder := byName[p.Value.Holder]
		for _, kind := range planPort(p, holder, age, t) {
			a := Action{Kind: kind, Port: p}
			if holder != nil {
				a.Agent = holder.Agent
			}
			actions = append(actions, a)
		}
	}
	var releasing []*ledger.Record[ledger.Claim]
	for _, c := range claims {
		switch c.Value.State {
		case ledger.Waiting, ledger.Granted:
			if age(c.Name, c.Version) >= c.Value.Duration {
				actions = append(actions, Action{Kind: CheckExpiry, Claim: c})
			}
		case ledger.ClaimReleasing:
			releasing = append(releasing, c)
		}
	}
	for _, c := range released(releasing, ports) {
		actions = append(actions, Action{Kind: DeleteClaim, Claim: c})
	}
	slices.SortStableFunc(actions, func(a, b Action) int { return order(a.Kind) - order(b.Kind) })
	return actions
}

// released returns those of the releasing claims that hold no port, or whose port leases are
// lost in part: the binding of such a port may be in AWS, and another claim must not get the
// port.
func released(releasing []*ledger.Record[ledger.Claim], ports []*ledger.Record[ledger.Port]) []*ledger.Record[ledger.Claim] {
	if len(releasing) == 0 {
		return nil // as in most sweeps
	}
	holding, leases := make(map[string]bool, len(ports)), make(map[string]bool, len(ports))
	for _, p := range ports {
		holding[p.Value.Holder], leases[p.Name] = true, true
	}
	lost := func(p ledger.PlannedPort) bool { return !leases[p.Fence.Lease] }
	return slices.DeleteFunc(releasing, func(c *ledger.Record[ledger.Claim]) bool {
		return holding[c.Name] && !slices.ContainsFunc(c.Value.Ports, lost)
	})
}

// planPort returns the actions that are due for a port. holder is its claim; nil if there
// is none.
func planPort(p *ledger.Record[ledger.Port], holder *ledger.Claim, age func(name, version string) time.Duration, t Timing) []Kind {
	switch p.Value.State {
	case ledger.Free, ledger.Blocked:
		return nil
	case ledger.Claimed, ledger.Bound:
		switch {
		case holder == nil || !holder.Lists(p.Value.Fence(p.Name)):
			return []Kind{CheckOwner}
		case holder.State == ledger.ClaimReleasing:
			return []Kind{BeginRelease}
		}
		return nil
	case ledger.Releasing:
		return planReleasing(p, age, t)
	case ledger.Cooldown:
		if age(p.Name, p.Version) >= p.Value.CooldownTime {
			return []Kind{EndCooldown}
		}
	}
	return nil
}

// planReleasing does what the agent does not do, and what it has not done in its time.
func planReleasing(p *ledger.Record[ledger.Port], age func(name, version string) time.Duration, t Timing) (due []Kind) {
	v := &p.Value
	if v.NeedsDeregistering() && (v.Agent == ledger.AgentAbsent || age(p.Name, p.Version) >= t.DeregisterGrace) {
		due = append(due, Deregister)
	}
	if v.Agent != ledger.AgentUnbinding || age(p.Name, p.Version) >= t.AgentGrace {
		due = append(due, Unbind)
	}
	return due
}

// order puts first what makes later actions possible: an expiry leads to a release, and
// unbinding frees a port. No deletion of a binding delays a deregistration, because the IP
// of a released port may have a new pod.
func order(k Kind) int {
	return slices.Index([]Kind{CheckExpiry, BeginRelease, CheckOwner, EndCooldown, DeleteClaim, Deregister, Unbind}, k)
}
