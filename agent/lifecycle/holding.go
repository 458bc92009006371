package lifecycle

import (
	"slices"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// holding is what the agent knows of its claim. It lives in memory alone: all of
// it can be had again from the ledger and AWS. It is used by one goroutine.
type holding struct {
	// claim is as the ledger has it. The ARNs in it are those recorded there.
	claim api.Claim
	// bindings is what this process made or found in AWS, recorded or not.
	bindings map[api.Fence]binding
	// leftovers are bindings of fences that the claim does not list any more.
	leftovers []leftover
	// announced is whether players are told the endpoint, and stale whether the
	// claim has moved since.
	announced, stale bool
	// vacated is AddressChanges of the claim when its former address was deregistered.
	vacated int
	// podTold is whether the pod's annotations say what claim says.
	podTold bool
}

// binding is the target group and listener of one port as far as they are known.
type binding struct {
	targetGroup string
	listener    string
	// attributed is whether the target group's attributes were set.
	attributed bool
	bound      bool
	// health is the state of this pod's target as last seen.
	health string
}

// leftover is a binding that is not needed, with whose it is.
type leftover struct {
	binding
	tags         elb.Tags
	loadBalancer string
	target       elb.Target // which it forwards to
	// checked is whether it was seen to be this fence's, and unlistened whether its
	// listener was deleted: neither is paid for twice.
	checked, unlistened bool
}

func newHolding() *holding { return &holding{bindings: make(map[api.Fence]binding)} }

// adopt takes a claim as the ledger now has it. Bindings of fences that it does
// not list become leftovers. It tells whether the claim moved: whether any port
// is held by another fence or on another host than before.
func (h *holding) adopt(c api.Claim) (moved bool) {
	before := h.claim
	moved = len(before.Ports) != len(c.Ports) || before.LoadBalancer.Host != c.LoadBalancer.Host
	for _, p := range before.Ports {
		if !slices.ContainsFunc(c.Ports, func(q api.ClaimedPort) bool { return q.Fence == p.Fence }) {
			h.leave(before, p)
			moved = true
		}
	}
	h.claim = c
	// What arrived belongs to this holding alone: record changes it.
	h.claim.Ports = slices.Clone(c.Ports)
	h.stale = h.stale || moved
	return moved
}

// leave turns the binding of a port into a leftover.
func (h *holding) leave(c api.Claim, p api.ClaimedPort) {
	b := h.known(p)
	delete(h.bindings, p.Fence)
	if b.targetGroup != "" || b.listener != "" {
		h.leftovers = append(h.leftovers, leftover{binding: b, tags: elb.TagsOf(c, p.Fence), loadBalancer: c.LoadBalancer.ARN})
	}
}

// known is the binding of a port by this process's own knowledge, completed by
// what the ledger has recorded.
func (h *holding) known(p api.ClaimedPort) binding {
	b := h.bindings[p.Fence]
	if b.targetGroup == "" {
		b.targetGroup = p.TargetGroupARN
	}
	if b.listener == "" {
		b.listener = p.ListenerARN
	}
	return b
}

// learn notes a binding of this process's own knowledge.
func (h *holding) learn(f api.Fence, change func(*binding)) {
	b := h.bindings[f]
	change(&b)
	h.bindings[f] = b
}

// record notes that the ledger has recorded something of a port.
func (h *holding) record(f api.Fence, change func(*api.ClaimedPort)) {
	for i := range h.claim.Ports {
		if h.claim.Ports[i].Fence == f {
			change(&h.claim.Ports[i])
		}
	}
}

// listens tells whether any port has a listener that this process knows of.
func (h *holding) listens() bool {
	return slices.ContainsFunc(h.claim.Ports, func(p api.ClaimedPort) bool { return h.known(p).listener != "" })
}

// unbound are the ports still to be bound.
func (h *holding) unbound() []api.ClaimedPort {
	return slices.DeleteFunc(slices.Clone(h.claim.Ports), func(p api.ClaimedPort) bool { return h.bindings[p.Fence].bound })
}

// unhealthy are the ports whose target was not yet seen healthy.
func (h *holding) unhealthy() []api.ClaimedPort {
	return slices.DeleteFunc(slices.Clone(h.claim.Ports), func(p api.ClaimedPort) bool {
		return h.bindings[p.Fence].health == string(elb.TargetHealthy)
	})
}

func (h *holding) forgetHealth() {
	for f := range h.bindings {
		h.learn(f, func(b *binding) { b.health = "" })
	}
}

// bindAfter is how long the allocator wants binding to wait.
func (h *holding) bindAfter() time.Duration {
	seconds := min(max(h.claim.BindAfterSeconds, 0), longestRetryAfter.Seconds())
	return time.Duration(seconds * float64(time.Second))
}

// presented are the ports with all that is known, recorded or not.
func (h *holding) presented() []api.ClaimedPort {
	ports := slices.Clone(h.claim.Ports)
	for i, p := range ports {
		b := h.known(p)
		ports[i].TargetGroupARN, ports[i].ListenerARN = b.targetGroup, b.listener
	}
	return ports
}

func leases(c api.Claim) []string {
	var names []string
	for _, p := range c.Ports {
		names = append(names, p.Fence.Lease)
	}
	return names
}
