package sim

import (
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/elb"
)

// atRest checks L2 some time after faults have stopped: every live pod is bound to
// its own IP alone unless its pool is exhausted. It also checks L1.
func (j *judge) atRest() error {
	s := j.world.cloud.emulator.Snapshot()
	var errs []error
	held := invariants.Held(j.world.leases.Ports.List())
	errs = append(errs, invariants.LeftOver(s, ledgerID, func(arn string, tags map[string]string) bool { return held(arn, tags) || j.keptFor(tags) }))
	for _, p := range j.world.all {
		if p.leaving || !j.world.pods.lives(p.name, p.uid) {
			continue
		}
		if j.world.faults.denied[p.name] {
			j.reached["pods of a broken deployment at rest"]++
			continue
		}
		if p.agent == nil || p.agent.over() {
			errs = append(errs, invariants.Violated("L2", "pod %s/%s has no agent", p.name, p.uid))
			continue
		}
		ready := p.agent.Ready()
		if ready == nil {
			j.reached["pods bound at the end"]++
			errs = append(errs, j.checkBinding(p, s))
			continue
		}
		if j.roomFor(len(p.ports), s) {
			errs = append(errs, invariants.Violated("L2", "pod %s/%s is not ready (%v) although ports are free", p.name, p.uid, ready))
		}
		j.reached["pods without room at the end"]++
	}
	return errors.Join(errs...)
}

// keptFor reports whether tags name a live pod whose holding was lost with its Lease.
// The binding stays until the pod has adopted it, has other ports, or is gone.
func (j *judge) keptFor(m map[string]string) bool {
	tags, ours := elb.ReadTags(m)
	return ours && j.world.config.Losses && tags.Ledger == ledgerID && j.world.pods.lives(tags.Pod, tags.PodUID)
}

// roomFor reports whether some load balancer has n free listener ports.
func (j *judge) roomFor(n int, s elbemu.Snapshot) bool {
	for _, arn := range j.world.pool.LoadBalancers {
		if j.world.cordoned(arn) || !exists(s, arn) {
			continue
		}
		free := 0
		for port := j.world.file.first; port < j.world.file.first+j.world.file.ports; port++ {
			if !j.world.file.offers(arn, port) {
				continue
			}
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

// checkBinding checks a ready pod against the ledger and AWS.
func (j *judge) checkBinding(p *pod, s elbemu.Snapshot) error {
	var errs []error
	for _, one := range p.agent.board.announced().Ports {
		r, _ := j.world.leases.Ports.Row(one.Fence.Lease)
		if r.Value.State != ledger.Bound || !r.Value.HeldBy(ledger.ClaimName(p.uid), one.Fence) {
			errs = append(errs, invariants.Violated("L2", "pod %s/%s announces port %s, which is %s", p.name, p.uid, r.Name, show(r.Value)))
		}
		if err := invariants.Forwarding(r, []string{p.ip}, s); err != nil {
			errs = append(errs, invariants.Violated("L2", "%v", err))
		}
	}
	return errors.Join(errs...)
}

// empty checks L1 once all pods are gone: no claim, no held port, nothing in AWS.
func (j *judge) empty() error {
	l := j.world.leases
	none := func(string, map[string]string) bool { return false }
	return errors.Join(
		invariants.LeftOver(j.world.cloud.emulator.Snapshot(), ledgerID, none),
		invariants.Empty(l.Claims.List(), l.Ports.List(), func(p ledger.Port) bool {
			return p.State == ledger.Free || p.State == ledger.Blocked && p.BlockedBy != ""
		}),
	)
}
