// Package holding is what the agent knows of its claim: the claim as the ledger has
// it, and the binding of each of its ports.
//
// It lives in memory alone. The ledger and AWS are the truth, and an agent that
// restarts reads all of it again from them.
package holding

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// Holding is for one goroutine.
type Holding struct {
	// Claim is the claim as the ledger has it, with the ARNs recorded there; zero
	// without a claim. Adopt and Drop set it.
	Claim api.Claim
	// Announced is whether players are told the endpoint.
	Announced bool
	// Moved is whether the claim got other ports since it was announced.
	Moved bool

	// bindings is what this process created or found in AWS, recorded or not.
	bindings  map[api.Fence]Binding
	leftovers []Leftover
}

// Binding is the target group and listener of one port, as far as they are known.
type Binding struct {
	TargetGroup string // ARN
	Listener    string // ARN
	// Created is when this process created the target group; zero if it did not.
	Created time.Time
	// Unused is whether this process has created the target group and done nothing with it.
	Unused bool
	// AttributesSet is whether the target group's attributes were set.
	AttributesSet bool
	// Bound is whether everything is in place and reported.
	Bound bool
	// TargetState is the health of this pod's target as last described, in AWS's
	// words; empty if it was not. Healthy is whether that is healthy.
	TargetState string
	Healthy     bool
}

// Leftover is a binding that the claim no longer needs.
type Leftover struct {
	Binding
	// Claim and Port say whose it is.
	Claim api.Claim
	Port  api.ClaimedPort
	// OwnerChecked is whether its tags were seen to be right, and ListenerDeleted
	// whether its listener is gone: neither costs a second call.
	OwnerChecked, ListenerDeleted bool
}

// New is a holding without a claim.
func New() *Holding { return &Holding{bindings: make(map[api.Fence]Binding)} }

// Adopt takes over a claim as the ledger has it. Bindings of fences that the claim
// no longer lists become leftovers. It reports whether the claim moved: whether a
// port has another fence or another host than before.
func (h *Holding) Adopt(c api.Claim) (moved bool) {
	before := h.Claim
	moved = len(before.Ports) != len(c.Ports) || before.LoadBalancer.Host != c.LoadBalancer.Host
	for _, p := range before.Ports {
		if !slices.ContainsFunc(c.Ports, func(q api.ClaimedPort) bool { return q.Fence == p.Fence }) {
			h.abandon(p)
			moved = true
		}
	}
	h.Claim = c
	h.Claim.Ports = slices.Clone(c.Ports) // the recording methods change them
	h.Moved = h.Moved || moved
	return moved
}

// Drop forgets the claim, and makes all its bindings leftovers.
func (h *Holding) Drop() {
	for _, p := range h.Claim.Ports {
		h.abandon(p)
	}
	h.Claim = api.Claim{}
}

func (h *Holding) abandon(p api.ClaimedPort) {
	l, exists := h.Leftover(p)
	delete(h.bindings, p.Fence)
	if exists {
		h.leftovers = append(h.leftovers, l)
	}
}

// Leftover is the binding of a port of the claim, to be deleted; false if nothing
// of it is known to exist.
func (h *Holding) Leftover(p api.ClaimedPort) (Leftover, bool) {
	b := h.Binding(p)
	return Leftover{Binding: b, Claim: h.Claim, Port: p}, b.TargetGroup != "" || b.Listener != ""
}

// TakeLeftovers returns the leftovers and forgets them.
func (h *Holding) TakeLeftovers() []Leftover {
	leftovers := h.leftovers
	h.leftovers = nil
	return leftovers
}

// Binding is what this process knows of a port's binding, completed by what the
// ledger has recorded in p.
func (h *Holding) Binding(p api.ClaimedPort) Binding {
	b := h.bindings[p.Fence]
	if b.TargetGroup == "" {
		b.TargetGroup = p.TargetGroupARN
	}
	if b.Listener == "" {
		b.Listener = p.ListenerARN
	}
	return b
}

// Update changes what this process knows of a binding.
func (h *Holding) Update(f api.Fence, change func(*Binding)) {
	b := h.bindings[f]
	change(&b)
	h.bindings[f] = b
}

// MarkDamaged makes a port unbound.
func (h *Holding) MarkDamaged(f api.Fence) {
	h.Update(f, func(b *Binding) { b.Bound, b.TargetState, b.Healthy = false, "", false })
}

// ForgetTargetStates makes every target count as not described yet.
func (h *Holding) ForgetTargetStates() {
	for f := range h.bindings {
		h.Update(f, func(b *Binding) { b.TargetState, b.Healthy = "", false })
	}
}

// TargetGroupRecorded notes that the ledger has recorded a port's target group.
func (h *Holding) TargetGroupRecorded(f api.Fence, arn string) {
	h.record(f, func(p *api.ClaimedPort) { p.TargetGroupARN = arn })
}

// ListenerRecorded notes that the ledger has recorded a port's listener.
func (h *Holding) ListenerRecorded(f api.Fence, arn string) {
	h.record(f, func(p *api.ClaimedPort) { p.ListenerARN = arn })
}

func (h *Holding) record(f api.Fence, change func(*api.ClaimedPort)) {
	for i := range h.Claim.Ports {
		if h.Claim.Ports[i].Fence == f {
			change(&h.Claim.Ports[i])
		}
	}
}

// HasListener reports whether any port is known to have a listener.
func (h *Holding) HasListener() bool {
	return slices.ContainsFunc(h.Claim.Ports, func(p api.ClaimedPort) bool { return h.Binding(p).Listener != "" })
}

// HasTargetGroup reports whether the ledger has recorded a target group of any port.
func (h *Holding) HasTargetGroup() bool {
	return slices.ContainsFunc(h.Claim.Ports, func(p api.ClaimedPort) bool { return p.TargetGroupARN != "" })
}

// Unbound are the ports still to be bound.
func (h *Holding) Unbound() []api.ClaimedPort {
	return h.without(func(b Binding) bool { return b.Bound })
}

// NotHealthy are the ports whose targets were not described as healthy yet.
func (h *Holding) NotHealthy() []api.ClaimedPort {
	return h.without(func(b Binding) bool { return b.Healthy })
}

func (h *Holding) without(excluded func(Binding) bool) []api.ClaimedPort {
	return slices.DeleteFunc(slices.Clone(h.Claim.Ports), func(p api.ClaimedPort) bool { return excluded(h.bindings[p.Fence]) })
}

// Presented are the ports with all ARNs that are known, recorded or not.
func (h *Holding) Presented() []api.ClaimedPort {
	ports := slices.Clone(h.Claim.Ports)
	for i, p := range ports {
		b := h.Binding(p)
		ports[i].TargetGroupARN, ports[i].ListenerARN = b.TargetGroup, b.Listener
	}
	return ports
}

// Leases are the names of the claim's port leases.
func (h *Holding) Leases() []string {
	var names []string
	for _, p := range h.Claim.Ports {
		names = append(names, p.Fence.Lease)
	}
	return names
}

// Endpoints lists what players dial, for people.
func (h *Holding) Endpoints() string {
	var list []string
	for _, p := range h.Claim.Ports {
		list = append(list, net.JoinHostPort(h.Claim.LoadBalancer.Host, strconv.Itoa(p.ListenerPort))+" ("+p.Name+")")
	}
	return strings.Join(list, ", ")
}
