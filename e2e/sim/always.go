package sim

import (
	"errors"
	"reflect"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// always is what holds after every step, whatever is under way.
func (j *judge) always() error {
	s, changed := j.world.cloud.seen()
	claims := j.world.leases.Claims.List()
	errs := append(j.broken, j.world.cloud.broken, j.checkTargets(claims, s))
	j.broken = nil
	if changed {
		errs = append(errs, j.checkForeign(s))
	}
	if j.world.config.Losses {
		return errors.Join(errs...)
	}
	errs = append(errs, checkHolders(claims), j.checkAnnounced())
	for _, p := range j.world.leases.Ports.List() {
		errs = append(errs, j.checkPort(p, s))
	}
	return errors.Join(errs...)
}

// checkHolders is S1 as claims see it: no holding is in two of them.
func checkHolders(claims []ledger.Record[ledger.Claim]) error {
	holder := make(map[api.Fence]string)
	for _, c := range claims {
		if c.Value.State != ledger.Granted {
			continue
		}
		for _, p := range c.Value.Ports {
			if other, held := holder[p.Fence]; held {
				return violated("S1", "holding %v is in claims %s and %s", p.Fence, other, c.Name)
			}
			holder[p.Fence] = c.Name
		}
	}
	return nil
}

// checkTargets is S6: a pod IP is a target of one holder. Holders that are being
// released do not count; their targets go with their target groups.
func (j *judge) checkTargets(claims []ledger.Record[ledger.Claim], s elbemu.Snapshot) error {
	granted := make(map[string]bool)
	for _, c := range claims {
		granted[c.Value.PodUID] = c.Value.State == ledger.Granted
	}
	holder := make(map[string]string) // pod IP → pod UID
	for _, g := range s.TargetGroups {
		uid := g.Tags[elb.TagPodUID]
		if g.Tags[elb.TagLedger] != ledgerID || !granted[uid] {
			continue
		}
		for _, t := range g.Targets {
			if t.State == "draining" || t.ID == strangeIP {
				continue
			}
			if other, taken := holder[t.ID]; taken && other != uid {
				return violated("S6", "pod IP %s is a target of pods %s and %s", t.ID, other, uid)
			}
			holder[t.ID] = uid
		}
	}
	return nil
}

// checkPort holds one port against AWS: what listens on it for this ledger is
// of its present holding, and a bound port has what it recorded.
func (j *judge) checkPort(p ledger.Record[ledger.Port], s elbemu.Snapshot) error {
	v := p.Value
	listening := false
	for _, l := range s.Listeners {
		listening = listening || l.ARN == v.ListenerARN
		if l.LoadBalancerARN != v.LoadBalancerARN || l.Port != v.ListenerPort || l.Tags[elb.TagLedger] != ledgerID {
			continue
		}
		generation, err := generationOf(l.Tags)
		if err != nil || generation != v.Generation || v.Holder == "" {
			return violated("S2", "port %s is %s at generation %d and its listener at %s (%v)", p.Name, v.State, v.Generation, l.Tags[elb.TagGeneration], err)
		}
	}
	if v.State == ledger.Bound && j.holds(p) && !listening && !j.world.config.Damage {
		return violated("bound", "port %s is bound and has no listener %s", p.Name, v.ListenerARN)
	}
	return nil
}

// checkAnnounced is S1 and S4 as players see it: what a pod that lives announces
// is its own in the ledger.
func (j *judge) checkAnnounced() error {
	for _, a := range j.world.agents {
		c := a.board.says()
		if a.over() || c.UID == "" || j.released[c.UID] || j.conflicted[c.UID] || !j.world.pods.lives(a.pod.name, a.pod.uid) {
			continue
		}
		for _, p := range c.Ports {
			r, exists := j.world.leases.Ports.Row(p.Fence.Lease)
			if !exists || !r.Value.HeldBy(ledger.ClaimName(a.pod.uid), p.Fence) {
				return violated("S4", "agent %s announces port %s, which is %s", a.name, p.Fence.Lease, show(r.Value))
			}
		}
	}
	return nil
}

// foreign is what belongs to others: it changes only when they change it.
type foreign struct {
	listeners []elbemu.Listener
	groups    []elbemu.TargetGroup
}

func (j *judge) foreignIn(s elbemu.Snapshot) (f foreign) {
	for _, l := range s.Listeners {
		if l.Tags[elb.TagLedger] != ledgerID {
			f.listeners = append(f.listeners, l)
		}
	}
	for _, g := range s.TargetGroups {
		if g.Tags[elb.TagLedger] == ledgerID {
			continue
		}
		if j.world.config.Damage {
			g.LoadBalancerARN = "" // time takes a group off a deleted load balancer
		}
		f.groups = append(f.groups, g)
	}
	return f
}

func (j *judge) noteForeign() { j.foreign = j.foreignIn(j.world.cloud.emulator.Snapshot()) }

func (j *judge) foreignListeners() []elbemu.Listener { return j.foreign.listeners }

// checkForeign is S3: what is not ours is as others left it.
func (j *judge) checkForeign(s elbemu.Snapshot) error {
	if now := j.foreignIn(s); !reflect.DeepEqual(now, j.foreign) {
		return violated("S3", "what belongs to others has changed: it was %+v and is %+v", j.foreign, now)
	}
	return nil
}
