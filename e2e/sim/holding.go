package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// port holds one change of a port against S1, S2 and S4.
func (j *judge) port(before, now *ledger.Record[ledger.Port]) error {
	if now == nil {
		return violated("S1", "a port lease was deleted")
	}
	v := now.Value
	j.license(now)
	j.opened(now.Name, v)
	if v.State == ledger.Cooldown && (before == nil || before.Value.State != ledger.Cooldown) {
		j.cooling[now.Name] = time.Now()
		j.reached["ports confirmed unbound"]++
	}
	if v.State == ledger.Bound && (before == nil || before.Value.State != ledger.Bound) {
		j.reached["ports bound"]++
	}
	if before == nil {
		if v.State != ledger.Claimed && (v.State != ledger.Blocked || v.Generation > 0 || v.Holder != "") {
			return violated("S1", "a port lease begins with a holder, or blocked and without any")
		}
		if v.State == ledger.Blocked {
			return nil
		}
		return j.offered(v)
	}
	b := before.Value
	switch {
	case v.Epoch != b.Epoch && b.Generation > 0:
		return violated("S1", "the epoch changed")
	case v.Generation < b.Generation:
		return violated("S2", "the generation fell")
	case v.Generation > b.Generation:
		return j.newHolder(now.Name, b, v)
	case v.Holder != "" && v.Holder != b.Holder:
		return violated("S1", "the holder changed within one generation")
	}
	return errors.Join(j.transition(now.Name, b, v), j.takenBack(now.Name, b, v))
}

// license notes the target group that a port records.
func (j *judge) license(now *ledger.Record[ledger.Port]) {
	if now != nil && now.Value.TargetGroupARN != "" && !j.licensed[now.Value.TargetGroupARN] {
		j.licensed[now.Value.TargetGroupARN] = true
		j.recorded[now.Name] = append(j.recorded[now.Name], now.Value.TargetGroupARN)
	}
}

// knownAfter is when every replica knows what people changed, and has granted what
// it had planned before.
const knownAfter = 2 * time.Minute

var transitions = map[ledger.PortState][]ledger.PortState{
	ledger.Free:      {ledger.Free, ledger.Blocked},
	ledger.Blocked:   {ledger.Blocked, ledger.Free},
	ledger.Claimed:   {ledger.Claimed, ledger.Bound, ledger.Free, ledger.Blocked, ledger.Releasing},
	ledger.Bound:     {ledger.Bound, ledger.Claimed, ledger.Releasing},
	ledger.Releasing: {ledger.Releasing, ledger.Cooldown},
	ledger.Cooldown:  {ledger.Cooldown, ledger.Free, ledger.Blocked},
}

func (j *judge) transition(name string, before, now ledger.Port) error {
	for _, state := range transitions[before.State] {
		if state != now.State {
			continue
		}
		switch {
		case !now.Held() && before.State == ledger.Claimed && before.TargetGroupARN != "":
			return violated("S2", "a port with a recorded target group became free without a sweep")
		case state != ledger.Cooldown && before.State == ledger.Cooldown && time.Since(j.cooling[name]) < cooldown*100/(100+mostDrift):
			return violated("S2", "the cooldown was cut short")
		case state == ledger.Cooldown && before.State == ledger.Releasing:
			return j.gone(name, now)
		}
		return nil
	}
	return violated("S2", "no such step")
}

// takenBack is S4 for one port: only what was granted counts, because a plan
// that was never granted is the allocator's own.
func (j *judge) takenBack(name string, before, now ledger.Port) error {
	held := before.State == ledger.Claimed || before.State == ledger.Bound
	if !held || now.State == ledger.Claimed || now.State == ledger.Bound {
		return nil
	}
	f := before.Fence(name)
	if !j.granted[f] || !j.world.pods.lives(before.Pod, before.PodUID) {
		return nil
	}
	if c, exists := j.world.leases.Claims.Row(before.Holder); exists && (j.released[c.UID] || j.conflicted[c.UID]) {
		return nil
	}
	return violated("S4", "it is taken back although pod %s/%s lives and did not release it", before.Pod, before.PodUID)
}

// newHolder is S2: a new holder comes only after the binding before is gone, and
// after the cooldown unless it is the same pod coming back.
func (j *judge) newHolder(name string, before, now ledger.Port) error {
	j.reached["ports taken again"]++
	if now.Generation != before.Generation+1 || now.State != ledger.Claimed {
		return violated("S1", "a generation was skipped")
	}
	comesBack := before.State == ledger.Cooldown && before.Namespace == now.Namespace && before.Pod == now.Pod
	if comesBack {
		j.reached["ports come back to during cooldown"]++
	}
	if before.State != ledger.Free && !comesBack {
		return violated("S2", "a new holder before the port was free")
	}
	if before.BlockedBy != "" {
		return violated("closed", "it is closed by %s", before.BlockedBy)
	}
	return errors.Join(j.offered(now), j.gone(name, now))
}

// offered holds a port that is taken against what people want to be handed out.
// Every replica knows that after a while, unless its views are late.
func (j *judge) offered(p ledger.Port) error {
	if j.world.faults.on || time.Since(j.settledAt) < knownAfter {
		return nil
	}
	if j.world.cordoned(p.LoadBalancerARN) {
		return violated("closed", "its load balancer is cordoned")
	}
	if !j.world.file.offers(p.LoadBalancerARN, p.ListenerPort) {
		return violated("closed", "the pool does not have it")
	}
	return nil
}

// gone is an error if anything is there that was ever recorded for a port, or
// that listens on it for this ledger.
func (j *judge) gone(name string, port ledger.Port) error {
	s, _ := j.world.cloud.seen()
	for _, g := range s.TargetGroups {
		if slices.Contains(j.recorded[name], g.ARN) {
			return violated("S2", "target group %s of an earlier holding is still there", g.Name)
		}
	}
	for _, l := range s.Listeners {
		if l.LoadBalancerARN == port.LoadBalancerARN && l.Port == port.ListenerPort && l.Tags[elb.TagLedger] == ledgerID {
			return violated("S2", "the listener of generation %s is still there", l.Tags[elb.TagGeneration])
		}
	}
	return nil
}
