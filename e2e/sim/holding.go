package sim

import (
	"errors"
	"time"

	"github.com/portlease/portlease/e2e/invariants"

	"github.com/portlease/portlease/allocator/ledger"
)

// port checks one write of a port against S1, S2 and S4.
func (j *judge) port(c invariants.PortChange) error {
	if err := c.Check(); err != nil || c.Now == nil {
		return err
	}
	now := *c.Now
	j.license(c)
	j.opened(c.Name, now)
	began := func(s ledger.PortState) bool { return now.State == s && (c.Before == nil || c.Before.State != s) }
	if began(ledger.Cooldown) {
		j.cooling[c.Name] = time.Now()
		j.reached["ports confirmed unbound"]++
	}
	if began(ledger.Bound) {
		j.reached["ports bound"]++
	}
	if c.NewHolder() {
		j.reached["ports taken again"]++
	}
	if c.ComesBack() {
		j.reached["ports come back to during cooldown"]++
	}
	s := j.withoutPlanted(j.world.cloud.around(c.Name, j.recorded[c.Name]...))
	errs := []error{c.Unbound(s, ledgerID, j.recorded[c.Name]...), j.takenBack(c)}
	if c.NewHolder() || c.Before == nil && now.State == ledger.Claimed {
		errs = append(errs, j.offered(now))
	}
	return errors.Join(errs...)
}

// license notes the target group that a port records.
func (j *judge) license(c invariants.PortChange) {
	if c.Now != nil && c.Now.TargetGroupARN != "" && !j.licensed[c.Now.TargetGroupARN] {
		j.licensed[c.Now.TargetGroupARN] = true
		j.recorded[c.Name] = append(j.recorded[c.Name], c.Now.TargetGroupARN)
	}
}

// knownAfter is when every replica has seen what admins changed, and has granted what
// it had planned before.
const knownAfter = 2 * time.Minute

// takenBack checks S4 for one port. Only granted ports count: the allocator may give up
// a plan that it never granted.
func (j *judge) takenBack(c invariants.PortChange) error {
	if !c.TakenBack() {
		return nil
	}
	before := *c.Before
	if !j.granted[before.Fence(c.Name)] || !j.world.pods.lives(before.Pod, before.PodUID) {
		return nil
	}
	if claim, exists := j.world.leases.Claims.Row(before.Holder); exists && (j.released[claim.UID] || j.collided[claim.UID]) {
		return nil
	}
	return invariants.Violated("S4", "it is taken back although pod %s/%s lives and did not release it", before.Pod, before.PodUID)
}

// offered checks that a port that is taken is on offer: its load balancer is not
// cordoned and the pool has the port. Every replica knows that after a while.
func (j *judge) offered(p ledger.Port) error {
	if j.world.faults.on || time.Since(j.offersChanged) < knownAfter {
		return nil
	}
	if j.world.cordoned(p.LoadBalancerARN) {
		return invariants.Violated("blocked", "its load balancer is cordoned")
	}
	if !j.world.file.offers(p.LoadBalancerARN, p.ListenerPort) {
		return invariants.Violated("blocked", "the pool does not have it")
	}
	return nil
}
