package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// judge holds everything that happens against the guarantees. It knows the
// ledger, AWS and the pods as they are, not as anybody sees them.
type judge struct {
	world *World
	// released and conflicted are what holders said of claims, by UID: that they
	// begin to release it, and that somebody else has one of its ports. All ports
	// of a claim are on one load balancer, so the second may move all of them.
	released   map[string]bool
	conflicted map[string]bool
	// granted has every fence that was in a granted claim.
	granted map[api.Fence]bool
	// recorded has every target group that a port ever recorded, by port lease.
	recorded map[string][]string
	licensed map[string]bool // the same target groups
	// cooling is since when a port cools down.
	cooling map[string]time.Time
	foreign foreign
	reached map[string]int
	// pending is since when a port lease waits for being free because its pod is
	// gone; reclaims is how long that took.
	pending  map[string]loss
	reclaims []time.Duration
	broken   []error // found in the middle of a step
}

func newJudge(w *World) *judge {
	j := &judge{
		world: w, released: make(map[string]bool), conflicted: make(map[string]bool), granted: make(map[api.Fence]bool),
		recorded: make(map[string][]string), licensed: make(map[string]bool), cooling: make(map[string]time.Time), reached: make(map[string]int),
		pending: make(map[string]loss),
	}
	w.ports.watchers = append(w.ports.watchers, func(before, now *ledger.Record[ledger.Port]) {
		if w.config.Losses {
			j.license(now)
			return
		}
		if err := j.port(before, now); err != nil {
			j.broken = append(j.broken, fmt.Errorf("port %s went from %s to %s: %w", now.Name, shownPort(before), shownPort(now), err))
		}
	})
	w.claims.watchers = append(w.claims.watchers, func(before, now *ledger.Record[ledger.Claim]) {
		if err := j.claim(before, now); err != nil {
			j.broken = append(j.broken, err)
		}
	})
	return j
}

func shownPort(r *ledger.Record[ledger.Port]) string {
	if r == nil {
		return "nothing"
	}
	return show(r.Value)
}

// hear notes what holders say of their own claims when a replica gets it.
func (j *judge) hear(path string, body []byte) error {
	switch {
	case strings.HasSuffix(path, api.CallRelease):
		var r api.ReleaseRequest
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("reading a release: %w", err)
		}
		j.released[r.ClaimUID] = true
	case strings.HasSuffix(path, api.CallConflict):
		var r api.ConflictRequest
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("reading a conflict: %w", err)
		}
		j.conflicted[r.ClaimUID] = true
	}
	return nil
}

// claim holds one change of a claim against S4.
func (j *judge) claim(before, now *ledger.Record[ledger.Claim]) error {
	if now == nil {
		j.reached["claims forgotten"]++
		if before.Value.State != ledger.Ending && !j.world.config.Losses {
			return violated("S4", "claim %s was deleted while %s", before.Name, before.Value.State)
		}
		return nil
	}
	v := now.Value
	if v.State == ledger.Granted {
		for _, p := range v.Ports {
			j.granted[p.Fence] = true
		}
	}
	if before == nil || v.State != ledger.Ending || before.Value.State == ledger.Ending {
		return nil
	}
	lives := j.world.pods.lives(v.Pod, v.PodUID)
	if j.released[now.UID] {
		j.reached["claims released"]++
	} else if lives {
		return violated("S4", "claim %s of %s/%s ends although its pod lives and did not release it", now.Name, v.Pod, v.PodUID)
	} else {
		j.reached["claims reclaimed"]++
	}
	return nil
}

// port holds one change of a port against S1, S2 and S4.
func (j *judge) port(before, now *ledger.Record[ledger.Port]) error {
	if now == nil {
		return errors.New("a port lease was deleted")
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
		return nil
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
	if c, exists := j.world.claims.rows[before.Holder]; exists && (j.released[c.UID] || j.conflicted[c.UID]) {
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
	return j.gone(name, now)
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

// call holds one call to AWS that is about to be applied against S3: an agent
// changes only what carries its own pod, the janitor only what carries this
// ledger's id, and nobody deletes what a held port has.
func (j *judge) call(p *Process, params url.Values) error {
	action := params.Get("Action")
	switch action {
	case "CreateListener":
		if group := params.Get("DefaultActions.member.1.TargetGroupArn"); !j.licensed[group] {
			return violated("S2", "%s creates a listener for target group %s, which the ledger never recorded", p.name, group)
		}
		return nil
	case "DeleteListener", "DeleteTargetGroup", "RegisterTargets", "DeregisterTargets":
	default:
		return nil
	}
	arn := params.Get("TargetGroupArn") + params.Get("ListenerArn")
	s, _ := j.world.cloud.seen()
	tags, exists := tagsIn(s, arn)
	if !exists {
		return nil
	}
	if tags[elb.TagLedger] != ledgerID || p.owner != "" && tags[elb.TagPodUID] != p.owner {
		return violated("S3", "%s does %s to %s, which carries %v", p.name, action, arn, tags)
	}
	if !strings.HasPrefix(action, "Delete") || j.world.config.Losses {
		return nil
	}
	for _, r := range j.world.ports.list() {
		if j.holds(r) && (r.Value.ListenerARN == arn || r.Value.TargetGroupARN == arn) {
			return violated("S4", "%s does %s to %s, which %s holds on port %s", p.name, action, arn, r.Value.Holder, r.Name)
		}
	}
	return nil
}

// holds tells whether a port is held by a claim that lists it and goes on. A
// port that its claim has just moved away from is only not given back yet.
func (j *judge) holds(p ledger.Record[ledger.Port]) bool {
	c, exists := j.world.claims.rows[p.Value.Holder]
	f := p.Value.Fence(p.Name)
	return exists && p.Value.HeldBy(c.Name, f) && c.Value.State != ledger.Ending && c.Value.Lists(f)
}

func tagsIn(s elbemu.Snapshot, arn string) (map[string]string, bool) {
	for _, l := range s.Listeners {
		if l.ARN == arn {
			return l.Tags, true
		}
	}
	for _, g := range s.TargetGroups {
		if g.ARN == arn {
			return g.Tags, true
		}
	}
	return nil, false
}

func generationOf(tags map[string]string) (int, error) { return strconv.Atoi(tags[elb.TagGeneration]) }
