package sim

import (
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// settled is L2, once faults have stopped and time has passed: every living pod
// is bound to its own address alone, unless its pool has no room; and L1 for
// what is not held.
func (j *judge) settled() error {
	s := j.world.cloud.emulator.Snapshot()
	var errs []error
	known := make(map[string]bool)
	for _, r := range j.world.leases.Ports.List() {
		if r.Value.Holder != "" {
			known[r.Value.TargetGroupARN], known[r.Value.ListenerARN] = true, true
		}
	}
	for _, g := range s.TargetGroups {
		known[g.ARN] = known[g.ARN] || j.keptFor(g.Tags)
	}
	for _, l := range s.Listeners {
		known[l.ARN] = known[l.ARN] || j.keptFor(l.Tags)
	}
	errs = append(errs, leftOver(s, known))
	for _, p := range j.world.all {
		if p.leaving || !j.world.pods.lives(p.name, p.uid) {
			continue
		}
		if p.agent == nil || p.agent.over() {
			errs = append(errs, violated("L2", "pod %s/%s has no agent", p.name, p.uid))
			continue
		}
		ready := p.agent.Ready()
		if ready == nil {
			j.reached["pods bound at the end"]++
			errs = append(errs, j.checkBinding(p, s))
			continue
		}
		if j.roomFor(len(p.ports), s) {
			errs = append(errs, violated("L2", "pod %s/%s is not ready (%v) although there are free ports", p.name, p.uid, ready))
		}
		j.reached["pods without room at the end"]++
	}
	return errors.Join(errs...)
}

// keptFor tells whether tags are a living pod's, of a holding that was lost with its
// Lease: it stays until the pod has taken it up again, or other ports, or is gone.
func (j *judge) keptFor(m map[string]string) bool {
	tags, ours := elb.ReadTags(m)
	return ours && j.world.config.Losses && tags.Ledger == ledgerID && j.world.pods.lives(tags.Pod, tags.PodUID)
}

// roomFor tells whether some load balancer has n free listener ports.
func (j *judge) roomFor(n int, s elbemu.Snapshot) bool {
	for _, arn := range j.world.pool.LoadBalancers {
		if j.world.cordoned(arn) || !exists(s, arn) {
			continue
		}
		free := 0
		for _, one := range j.world.pool.Ranges {
			port := one.From
			r, exists := j.world.leases.Ports.Row(ledger.PortName(ledger.LoadBalancerID(arn), port))
			taken := exists && r.Value.State != ledger.Free
			for _, l := range s.Listeners {
				taken = taken || l.LoadBalancerARN == arn && l.Port == port
			}
			if !taken {
				free++
			}
		}
		if free >= n {
			return true
		}
	}
	return false
}

// checkBinding holds a ready pod against the ledger and AWS.
func (j *judge) checkBinding(p *pod, s elbemu.Snapshot) error {
	var errs []error
	for _, one := range p.agent.board.says().Ports {
		r, _ := j.world.leases.Ports.Row(one.Fence.Lease)
		if r.Value.State != ledger.Bound || !r.Value.HeldBy(ledger.ClaimName(p.uid), one.Fence) {
			errs = append(errs, violated("L2", "pod %s/%s announces port %s, which is %s", p.name, p.uid, r.Name, show(r.Value)))
		}
		for _, l := range s.Listeners {
			if l.ARN == r.Value.ListenerARN && (len(l.Forwards) != 1 || l.Forwards[0].TargetGroupARN != r.Value.TargetGroupARN) {
				errs = append(errs, violated("L2", "port %s: its listener forwards to %v", r.Name, l.Forwards))
			}
		}
		for _, g := range s.TargetGroups {
			if g.ARN == r.Value.TargetGroupARN && (len(g.Targets) != 1 || g.Targets[0].ID != p.ip) {
				errs = append(errs, violated("L2", "port %s: its targets are %+v, its holder's address is %s", r.Name, g.Targets, p.ip))
			}
		}
	}
	return errors.Join(errs...)
}

// leftOver is L1: an error for each thing of this ledger in AWS that is not
// known.
func leftOver(s elbemu.Snapshot, known map[string]bool) error {
	var errs []error
	for _, l := range s.Listeners {
		if l.Tags[elb.TagLedger] == ledgerID && !known[l.ARN] {
			errs = append(errs, violated("L1", "listener %s on port %d is left over", l.ARN, l.Port))
		}
	}
	for _, g := range s.TargetGroups {
		if g.Tags[elb.TagLedger] == ledgerID && !known[g.ARN] {
			errs = append(errs, violated("L1", "target group %s is left over", g.ARN))
		}
	}
	return errors.Join(errs...)
}

// empty is L1 once all pods are gone: no claim, no held port, nothing in AWS.
func (j *judge) empty() error {
	errs := []error{leftOver(j.world.cloud.emulator.Snapshot(), nil)}
	for _, c := range j.world.leases.Claims.List() {
		errs = append(errs, violated("L1", "claim %s of %s is left over, %s", c.Name, c.Value.Pod, c.Value.State))
	}
	for _, p := range j.world.leases.Ports.List() {
		if p.Value.State != ledger.Free && (p.Value.State != ledger.Blocked || p.Value.BlockedBy == "") {
			errs = append(errs, violated("L1", "port %s is still %s for %s", p.Name, p.Value.State, p.Value.Pod))
		}
	}
	return errors.Join(errs...)
}
