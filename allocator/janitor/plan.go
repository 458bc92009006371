package janitor

import (
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Kind is what an action does.
type Kind string

const (
	// CheckExpiry reads the pod of an expired claim.
	CheckExpiry Kind = "check expiry"
	// BeginRelease begins to release a held port whose claim is being released.
	BeginRelease Kind = "begin release"
	// CheckOwner reads a held port that no claim lists, and its claim.
	CheckOwner Kind = "check owner"
	// Unbind a releasing port and confirm that its binding is gone.
	Unbind Kind = "unbind"
	// EndCooldown frees a port whose cooldown is over.
	EndCooldown Kind = "end cooldown"
	// DeleteClaim deletes the claim lease of a released claim that holds no port.
	DeleteClaim Kind = "delete claim"
)

// Action is one thing the ledger asks for. Exactly one of Claim and Port is set.
// An action is a suspicion drawn from a view that may be late: whoever carries
// it out reads again and writes by compare-and-swap.
type Action struct {
	Kind  Kind
	Claim *ledger.Record[ledger.Claim]
	Port  *ledger.Record[ledger.Port]
	// Agent is who unbinds a port that is let go.
	Agent ledger.AgentPart
}

// Timing is what a plan waits for, all measured by the judge's own clock.
type Timing struct {
	// ClaimDuration is how long a claim lasts without a renewal.
	ClaimDuration time.Duration
	// AgentGrace is how long an agent may take to unbind its own port.
	AgentGrace time.Duration
}

// Plan says what the ledger asks for. age is for how long this process has seen
// a record unchanged; a process that has just started has seen nothing for long,
// so nothing expires sooner than one full duration after its start.
func Plan(claims []ledger.Record[ledger.Claim], ports []ledger.Record[ledger.Port], age func(name, version string) time.Duration, t Timing) []Action {
	var actions []Action
	byName := make(map[string]*ledger.Claim, len(claims))
	holding := make(map[string]bool, len(ports)) // claim leases that a port still names
	for i := range claims {
		byName[claims[i].Name] = &claims[i].Value
	}
	for i := range ports {
		p := &ports[i]
		if p.Value.Holder != "" {
			holding[p.Value.Holder] = true
		}
		holder := byName[p.Value.Holder]
		if kind, due := planPort(p, holder, age, t); due {
			a := Action{Kind: kind, Port: p}
			if holder != nil {
				a.Agent = holder.Agent
			}
			actions = append(actions, a)
		}
	}
	for i := range claims {
		c := &claims[i]
		switch c.Value.State {
		case ledger.Waiting, ledger.Granted:
			if age(c.Name, c.Version) >= c.Value.Duration {
				actions = append(actions, Action{Kind: CheckExpiry, Claim: c})
			}
		case ledger.ClaimReleasing:
			if !holding[c.Name] {
				actions = append(actions, Action{Kind: DeleteClaim, Claim: c})
			}
		}
	}
	slices.SortStableFunc(actions, func(a, b Action) int { return order(a.Kind) - order(b.Kind) })
	return actions
}

// planPort says what a port asks for. holder is the claim that it names; nil if
// there is none.
func planPort(p *ledger.Record[ledger.Port], holder *ledger.Claim, age func(name, version string) time.Duration, t Timing) (Kind, bool) {
	switch p.Value.State {
	case ledger.Free, ledger.Blocked:
		return "", false
	case ledger.Claimed, ledger.Bound:
		switch {
		case holder == nil || !holder.Lists(p.Value.Fence(p.Name)):
			return CheckOwner, true
		case holder.State == ledger.ClaimReleasing:
			return BeginRelease, true
		}
		return "", false
	case ledger.Releasing:
		return Unbind, p.Value.Agent != ledger.AgentUnbinding || age(p.Name, p.Version) >= t.AgentGrace
	case ledger.Cooldown:
		return EndCooldown, age(p.Name, p.Version) >= p.Value.CooldownTime
	}
	return "", false
}

// order puts first what lets others go on: judging starts a release, unbinding
// frees a port.
func order(k Kind) int {
	return slices.Index([]Kind{CheckExpiry, BeginRelease, CheckOwner, Unbind, EndCooldown, DeleteClaim}, k)
}

// Verdict is what is to be done with a resource in AWS that carries this
// ledger's id but that no holding accounts for.
type Verdict string

const (
	// Keep it: it is in use, on its way, or newer than what is known here.
	Keep Verdict = "keep"
	// Delete it: its holding is over for certain.
	Delete Verdict = "delete"
	// Suspect it: no lease speaks of it, so its pod decides, and then only after
	// several sightings.
	Suspect Verdict = "suspect"
)

// JudgeOrphan applies the deletion rules to one target group or listener. port
// must have been read consistently after the listing that showed the resource;
// nil means that there is no such port lease. recorded tells whether it is the
// very target group or listener that the port lease names.
func JudgeOrphan(epoch string, generation int, port *ledger.Port, recorded bool) (Verdict, string) {
	switch {
	case port == nil:
		return Suspect, "no port lease of that name"
	case port.Epoch != epoch:
		return Suspect, "the port lease was made anew"
	case port.Generation > generation:
		return Delete, "an older generation"
	case port.Generation < generation:
		return Keep, "a generation this ledger does not know"
	}
	switch port.State {
	case ledger.Claimed, ledger.Bound:
		return Keep, "its holder is binding it"
	case ledger.Releasing:
		if recorded {
			return Keep, "its release is under way"
		}
		return Delete, "its generation is releasing"
	case ledger.Free, ledger.Cooldown, ledger.Blocked:
		return Delete, "its generation is over"
	}
	return Keep, "a state this version does not know"
}
