package sim

import (
	"errors"
	"reflect"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
)

// always checks what holds after every step.
func (j *judge) always() error {
	s, changed := j.world.cloud.seen()
	claims := j.world.leases.Claims.List()
	own := j.withoutPlanted(s)
	errs := append(j.broken, j.world.cloud.broken, invariants.Targets(claims, own, ledgerID, unknownIP))
	j.broken = nil
	if changed {
		errs = append(errs, j.checkForeign(s))
	}
	if j.world.config.Losses {
		return errors.Join(errs...)
	}
	errs = append(errs, invariants.Holders(claims), j.checkAnnounced(j.world.agents))
	around := func(ledger.Record[ledger.Port]) (elbemu.Snapshot, elbemu.Snapshot) { return own, s }
	if j.world.scaled() {
		all := newResources(s)
		errs = append(errs, j.world.cloud.known.sameAs(all))
		around = func(p ledger.Record[ledger.Port]) (elbemu.Snapshot, elbemu.Snapshot) {
			s := all.around(p.Name, p.Value.ListenerARN)
			return s, s
		}
	}
	for _, p := range j.world.leases.Ports.List() {
		withoutPlanted, all := around(p)
		errs = append(errs, j.checkPort(p, withoutPlanted, all))
	}
	return errors.Join(errs...)
}

// checkPort checks one port against AWS. own is without what games planted.
func (j *judge) checkPort(p ledger.Record[ledger.Port], own, all elbemu.Snapshot) error {
	if err := invariants.Listeners(p, own, ledgerID); err != nil || !j.holds(p) || j.world.config.Damage {
		return err
	}
	return invariants.Listening(p, all)
}

// checkAnnounced checks S1 and S4 as players see them: a live pod holds in the ledger
// what it announces.
func (j *judge) checkAnnounced(agents []*agent) error {
	for _, a := range agents {
		c := a.board.announced()
		if a.over() || c.UID == "" || j.released[c.UID] || j.collided[c.UID] || !j.world.pods.lives(a.pod.name, a.pod.uid) {
			continue
		}
		for _, p := range c.Ports {
			r, exists := j.world.leases.Ports.Row(p.Fence.Lease)
			if !exists || !r.Value.HeldBy(ledger.ClaimName(a.pod.uid), p.Fence) {
				return invariants.Violated("S4", "agent %s announces port %s, which is %s", a.name, p.Fence.Lease, show(r.Value))
			}
		}
	}
	return nil
}

// foreignIn returns what is foreign. Only foreign actors may change it.
func (j *judge) foreignIn(s elbemu.Snapshot) invariants.Foreign {
	f := invariants.ForeignIn(s, ledgerID)
	if j.world.config.Damage {
		for i := range f.TargetGroups {
			f.TargetGroups[i].LoadBalancerARN = "" // AWS takes a group off a deleted load balancer later
		}
	}
	return f
}

func (j *judge) noteForeign() { j.foreign = j.foreignIn(j.world.cloud.emulator.Snapshot()) }

func (j *judge) foreignListeners() []elbemu.Listener { return j.foreign.Listeners }

// checkForeign checks S3: foreign things are as foreign actors left them.
func (j *judge) checkForeign(s elbemu.Snapshot) error {
	if now := j.foreignIn(s); !reflect.DeepEqual(now, j.foreign) {
		return invariants.Violated("S3", "foreign things have changed: they were %+v and are %+v", j.foreign, now)
	}
	return nil
}
