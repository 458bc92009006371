package sim

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// judge checks everything that happens against the guarantees. It knows the ledger,
// AWS and the pods as they are, not as a cache shows them.
type judge struct {
	world *World
	// released and collided are the UIDs of claims that their holders began to
	// release, and of which they reported a collision. All ports of a claim are on one
	// load balancer, so a collision may move all of them.
	released map[string]bool
	collided map[string]bool
	// granted has every fence that was in a granted claim.
	granted map[api.Fence]bool
	// recorded has every target group that a port ever recorded, by port lease.
	recorded map[string][]string
	licensed map[string]bool // the same target groups
	// holders has the claims that were granted a fence last, where changes are checked when
	// they are made.
	holders map[api.Fence]string
	// cooling is since when a port is in cooldown.
	cooling map[string]time.Time
	foreign invariants.Foreign
	// planted has the ARNs of what games created with their pods' AWS credentials.
	planted map[string]bool
	reached map[string]int
	// offersChanged is when admins last changed what is on offer.
	offersChanged time.Time
	// pending has the ports that are to be reclaimed because their pod is gone;
	// reclaims is how long the others took.
	pending  map[string]loss
	reclaims []time.Duration
	broken   []error // found in the middle of a step
}

func newJudge(w *World) *judge {
	j := &judge{
		world: w, released: make(map[string]bool), collided: make(map[string]bool), granted: make(map[api.Fence]bool), holders: make(map[api.Fence]string),
		recorded: make(map[string][]string), licensed: make(map[string]bool), cooling: make(map[string]time.Time), reached: make(map[string]int),
		pending: make(map[string]loss), planted: make(map[string]bool),
	}
	w.leases.Ports.Watch(func(before, now *ledger.Record[ledger.Port]) {
		if w.config.Losses {
			j.license(changeOf(before, now))
			return
		}
		c := changeOf(before, now)
		j.changedPort(c)
		c.CooledDown = time.Since(j.cooling[c.Name]) >= w.timing.Cooldown*100/(100+maxDrift)
		if err := j.port(c); err != nil {
			j.broken = append(j.broken, fmt.Errorf("%s: %w", c, err))
		}
	})
	w.leases.Cordons.Watch(func(_, _ *ledger.Record[ledger.Cordon]) {
		j.offersChanged = time.Now()
		j.reached["load balancers cordoned or uncordoned"]++
	})
	w.leases.Claims.Watch(func(before, now *ledger.Record[ledger.Claim]) {
		if err := j.claim(before, now); err != nil {
			j.broken = append(j.broken, err)
		}
	})
	return j
}

func changeOf(before, now *ledger.Record[ledger.Port]) (c invariants.PortChange) {
	if before != nil {
		c.Name, c.Before = before.Name, &before.Value
	}
	if now != nil {
		c.Name, c.Now = now.Name, &now.Value
	}
	return c
}

// noteRequest records what a holder reports about its claim when a replica receives
// it.
func (j *judge) noteRequest(path string, body []byte) error {
	switch {
	case strings.HasSuffix(path, api.CallRelease):
		var r api.ReleaseRequest
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("reading a release: %w", err)
		}
		j.released[r.ClaimUID] = true
	case strings.HasSuffix(path, api.CallCollision):
		var r api.CollisionRequest
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("reading a collision: %w", err)
		}
		j.collided[r.ClaimUID] = true
	}
	return nil
}

// claim checks one write of a claim against S4.
func (j *judge) claim(before, now *ledger.Record[ledger.Claim]) error {
	if now == nil {
		j.reached["claims deleted"]++
		if before.Value.State != ledger.ClaimReleasing && !j.world.config.Losses {
			return invariants.Violated("S4", "claim %s was deleted while %s", before.Name, before.Value.State)
		}
		return nil
	}
	v := now.Value
	if v.State == ledger.Granted {
		for _, p := range v.Ports {
			j.granted[p.Fence] = true
			if err := j.soleHolder(now.Name, p.Fence); err != nil {
				return err
			}
		}
	}
	if before == nil || v.State != ledger.ClaimReleasing || before.Value.State == ledger.ClaimReleasing {
		return nil
	}
	lives := j.world.pods.lives(v.Pod, v.PodUID)
	if j.released[now.UID] {
		j.reached["claims released"]++
	} else if lives {
		return invariants.Violated("S4", "claim %s of %s/%s ends although its pod lives and did not release it", now.Name, v.Pod, v.PodUID)
	} else {
		j.reached["claims reclaimed"]++
	}
	return nil
}

// call checks one call to AWS against S2, S3 and S4 before it is applied. A listener
// needs its license. An agent changes only what its own pod's tags are on, the janitor
// only what is tagged with this ledger. Nothing deletes the binding of a held port.
func (j *judge) call(p *Process, params url.Values) error {
	action := params.Get("Action")
	switch action {
	case "CreateListener":
		if group := params.Get("DefaultActions.member.1.TargetGroupArn"); !j.licensed[group] {
			return invariants.Violated("S2", "%s creates a listener for target group %s, which the ledger never recorded", p.name, group)
		}
		return nil
	case "DeleteListener", "DeleteTargetGroup", "RegisterTargets", "DeregisterTargets":
	default:
		return nil
	}
	arn := params.Get("TargetGroupArn") + params.Get("ListenerArn")
	s := j.world.cloud.around("", arn)
	tags, exists := tagsIn(s, arn)
	if !exists {
		return nil
	}
	if tags[elb.TagLedger] != ledgerID || p.owner != "" && tags[elb.TagPodUID] != p.owner {
		return invariants.Violated("S3", "%s does %s to %s, which carries %v", p.name, action, arn, tags)
	}
	if !strings.HasPrefix(action, "Delete") || j.world.config.Losses {
		return nil
	}
	recorded := func(v ledger.Port) bool { return v.ListenerARN == arn || v.TargetGroupARN == arn }
	for _, r := range j.world.leases.Ports.Where(recorded) {
		if j.world.config.Damage && p.owner == r.Value.PodUID {
			continue // it repairs a redirected binding
		}
		if j.world.config.Damage && displaced(s, r.Value) {
			continue // the janitor deletes a listener that forwards elsewhere
		}
		if j.holds(r) {
			return invariants.Violated("S4", "%s does %s to %s, which %s holds on port %s", p.name, action, arn, r.Value.Holder, r.Name)
		}
	}
	return nil
}

// holds reports whether a port is held by a claim that lists it and is not being
// released. A port that its claim has just moved away from is about to be released.
func (j *judge) holds(p ledger.Record[ledger.Port]) bool {
	c, exists := j.world.leases.Claims.Row(p.Value.Holder)
	f := p.Value.Fence(p.Name)
	return exists && p.Value.HeldBy(c.Name, f) && c.Value.State != ledger.ClaimReleasing && c.Value.Lists(f)
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

// displaced reports whether the recorded listener of a port does not forward to its target
// group alone.
func displaced(s elbemu.Snapshot, p ledger.Port) bool {
	for _, l := range s.Listeners {
		if l.ARN == p.ListenerARN {
			return len(l.Forwards) != 1 || l.Forwards[0].TargetGroupARN != p.TargetGroupARN
		}
	}
	return false
}
