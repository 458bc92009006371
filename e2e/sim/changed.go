package sim

import (
	"errors"
	"maps"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// changed checks what the last step has changed in a large installation. always checks
// the rest now and then.
func (j *judge) changed() error {
	known := j.world.cloud.known
	if len(j.broken) == 0 && j.world.cloud.broken == nil && len(known.changedPorts) == 0 && len(known.changedTargets) == 0 {
		return nil
	}
	errs := append(j.broken, j.world.cloud.broken)
	j.broken = nil
	for _, name := range slices.Sorted(maps.Keys(known.changedPorts)) {
		p, exists := j.world.leases.Ports.Row(name)
		if !exists {
			continue
		}
		s := known.around(name, p.Value.ListenerARN)
		errs = append(errs, j.checkPort(p, s, s))
	}
	for _, ip := range slices.Sorted(maps.Keys(known.changedTargets)) {
		errs = append(errs, j.checkTarget(ip))
	}
	clear(known.changedPorts)
	clear(known.changedTargets)
	return errors.Join(errs...)
}

// changedPort records that a port was written, and checks what its holders announce.
func (j *judge) changedPort(c invariants.PortChange) {
	if !j.world.scaled() {
		return
	}
	j.world.cloud.known.changedPorts[c.Name] = true
	if c.Before == nil {
		return
	}
	if a := j.world.agentOf[c.Before.PodUID]; a != nil {
		if err := j.checkAnnounced([]*agent{a}); err != nil {
			j.broken = append(j.broken, err)
		}
	}
}

// checkTarget checks S6 for one address.
func (j *judge) checkTarget(ip string) error {
	at := j.world.cloud.known.at(ip)
	var claims []ledger.Record[ledger.Claim]
	for _, g := range at.TargetGroups {
		if c, exists := j.world.leases.Claims.Row(ledger.ClaimName(g.Tags[elb.TagPodUID])); exists {
			claims = append(claims, c)
		}
	}
	return invariants.Targets(claims, at, ledgerID)
}

// soleHolder checks S1 for one fence of a granted claim in a large installation: no other
// granted claim lists it.
func (j *judge) soleHolder(claim string, f api.Fence) error {
	if !j.world.scaled() {
		return nil
	}
	other, exists := j.world.leases.Claims.Row(j.holders[f])
	if exists && other.Name != claim && other.Value.State == ledger.Granted && other.Value.Lists(f) {
		return invariants.Violated("S1", "holding %v is in claims %s and %s", f, other.Name, claim)
	}
	j.holders[f] = claim
	return nil
}
