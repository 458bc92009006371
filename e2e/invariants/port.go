package invariants

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// PortChange is one write of one port lease.
type PortChange struct {
	Name string
	// Before and Now are nil for an absent lease; one of them is there.
	Before, Now *ledger.Port
	// CooledDown reports whether a port in cooldown has been so for its cooldown
	// time, by the observer's clock.
	CooledDown bool
}

// String describes the change.
func (c PortChange) String() string {
	return fmt.Sprintf("port %s went from %s to %s", c.Name, describe(c.Before), describe(c.Now))
}

func describe(p *ledger.Port) string {
	if p == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s (generation %d, holder %q, target group %q)", p.State, p.Generation, p.Holder, p.TargetGroupARN)
}

// transitions are the changes of state that one holding, or nobody's port, may make.
var transitions = map[ledger.PortState][]ledger.PortState{
	ledger.Free:      {ledger.Free, ledger.Blocked},
	ledger.Blocked:   {ledger.Blocked, ledger.Free},
	ledger.Claimed:   {ledger.Claimed, ledger.Bound, ledger.Free, ledger.Blocked, ledger.Releasing},
	ledger.Bound:     {ledger.Bound, ledger.Claimed, ledger.Releasing},
	ledger.Releasing: {ledger.Releasing, ledger.Cooldown},
	ledger.Cooldown:  {ledger.Cooldown, ledger.Free, ledger.Blocked},
}

// Check checks S1 and S2 on the write alone.
func (c PortChange) Check() error {
	switch {
	case c.Now == nil && c.Before.State != ledger.Free:
		return Violated("S1", "the lease of a port that is not free was deleted")
	case c.Now == nil:
		return nil // the next lease of that name begins a new epoch
	case c.Before == nil:
		if c.Now.State != ledger.Claimed && (c.Now.State != ledger.Blocked || c.Now.Generation > 0 || c.Now.Holder != "") {
			return Violated("S1", "a port lease begins with a holder, or blocked and without any")
		}
		return nil
	}
	before, now := *c.Before, *c.Now
	switch {
	case now.Epoch != before.Epoch && before.Generation > 0 && (!c.NewHolder() || now.Epoch != before.NextEpoch):
		return Violated("S1", "the epoch changed")
	case c.NewHolder() && before.NextEpoch != "" && now.Epoch == before.Epoch && now.NextEpoch == "":
		return Violated("S1", "the epoch of a restored lease goes on")
	case now.Generation < before.Generation:
		return Violated("S2", "the generation fell")
	case c.NewHolder():
		return newHolder(before, now)
	case now.Holder != "" && now.Holder != before.Holder:
		return Violated("S1", "the holder changed within one generation")
	case !slices.Contains(transitions[before.State], now.State):
		return Violated("S2", "no such step")
	case !now.Held() && before.State == ledger.Claimed && before.TargetGroupARN != "":
		return Violated("S2", "a port with a recorded target group became free without a sweep")
	case before.State == ledger.Cooldown && now.State != ledger.Cooldown && !c.CooledDown:
		return Violated("S2", "the cooldown was cut short")
	}
	return nil
}

// NewHolder reports whether somebody takes a port whose lease was there before.
func (c PortChange) NewHolder() bool {
	return c.Before != nil && c.Now != nil && c.Now.Generation > c.Before.Generation
}

// ComesBack reports whether a pod takes a port in cooldown that a pod of the same
// name had last. It does not wait for the end of the cooldown.
func (c PortChange) ComesBack() bool {
	return c.NewHolder() && c.Before.State == ledger.Cooldown && c.Before.Namespace == c.Now.Namespace && c.Before.Pod == c.Now.Pod
}

func newHolder(before, now ledger.Port) error {
	c := PortChange{Before: &before, Now: &now}
	switch {
	case now.Generation != before.Generation+1 || now.State != ledger.Claimed:
		return Violated("S1", "a generation was skipped")
	case before.State != ledger.Free && !c.ComesBack():
		return Violated("S2", "a new holder before the port was free")
	case before.BlockedBy != "":
		return Violated("blocked", "it is blocked by %s", before.BlockedBy)
	}
	return nil
}

// Confirmed reports whether the ledger says from now on that the binding is gone.
func (c PortChange) Confirmed() bool {
	return c.Before != nil && c.Now != nil && c.Before.State == ledger.Releasing && c.Now.State == ledger.Cooldown
}

// Unbound checks S2 in AWS: when a binding is confirmed to be gone, and when a port
// gets a new holder, nothing of the holdings before exists. recorded are the target
// groups that the port recorded for them. AWS is observed after the write; a newer
// holding may have begun since.
func (c PortChange) Unbound(aws elbemu.Snapshot, ledgerID string, recorded ...string) error {
	if !c.Confirmed() && !c.NewHolder() {
		return nil
	}
	last := c.Now.Generation
	if c.NewHolder() {
		last--
	}
	for _, g := range aws.TargetGroups {
		if slices.Contains(recorded, g.ARN) {
			return Violated("S2", "target group %s of an earlier holding is still there", g.Name)
		}
	}
	for _, l := range aws.Listeners {
		// Somebody may have moved or redirected it; then its tags name the port.
		tags, complete := elb.ReadTags(l.Tags)
		onPort := l.LoadBalancerARN == c.Now.LoadBalancerARN && l.Port == c.Now.ListenerPort
		if l.Tags[elb.TagLedger] != ledgerID || !onPort && (!complete || tags.Lease != c.Name) {
			continue
		}
		if generation, err := strconv.Atoi(l.Tags[elb.TagGeneration]); err != nil || generation <= last {
			return Violated("S2", "the listener of generation %s is still there", l.Tags[elb.TagGeneration])
		}
	}
	return nil
}

// TakenBack reports whether the write ends a holding. S4 asks whether its pod lives
// and did not release it.
func (c PortChange) TakenBack() bool {
	if c.Before == nil {
		return false
	}
	f := c.Before.Fence(c.Name)
	return c.Before.HeldBy(c.Before.Holder, f) && (c.Now == nil || !c.Now.HeldBy(c.Before.Holder, f))
}

// Listeners checks S2 on one moment: what listens on a port for this ledger is of
// its present holding.
func Listeners(p PortRecord, aws elbemu.Snapshot, ledgerID string) error {
	for _, l := range aws.Listeners {
		if l.LoadBalancerARN != p.Value.LoadBalancerARN || l.Port != p.Value.ListenerPort || l.Tags[elb.TagLedger] != ledgerID {
			continue
		}
		if l.Tags[elb.TagGeneration] != strconv.Itoa(p.Value.Generation) || p.Value.Holder == "" {
			return Violated("S2", "port %s is %s at generation %d and its listener at %s", p.Name, p.Value.State, p.Value.Generation, l.Tags[elb.TagGeneration])
		}
	}
	return nil
}

// Listening checks on one moment that a bound port has the listener it recorded.
func Listening(p PortRecord, aws elbemu.Snapshot) error {
	if p.Value.State == ledger.Bound && !slices.ContainsFunc(aws.Listeners, func(l elbemu.Listener) bool { return l.ARN == p.Value.ListenerARN }) {
		return Violated("bound", "port %s is bound and has no listener %s", p.Name, p.Value.ListenerARN)
	}
	return nil
}

// Forwarding checks on one moment that a bound port's listener forwards to its
// target group alone, and that one to its holder's addresses alone.
func Forwarding(p PortRecord, addresses []string, aws elbemu.Snapshot) error {
	var errs []error
	for _, l := range aws.Listeners {
		if l.ARN == p.Value.ListenerARN && (len(l.Forwards) != 1 || l.Forwards[0].TargetGroupARN != p.Value.TargetGroupARN) {
			errs = append(errs, Violated("bound", "port %s: its listener forwards to %v, not to %s alone", p.Name, l.Forwards, p.Value.TargetGroupARN))
		}
	}
	at := slices.IndexFunc(aws.TargetGroups, func(g elbemu.TargetGroup) bool { return g.ARN == p.Value.TargetGroupARN })
	if at < 0 {
		return errors.Join(append(errs, Violated("bound", "port %s is bound and has no target group %s", p.Name, p.Value.TargetGroupARN))...)
	}
	targets := aws.TargetGroups[at].Targets
	if len(targets) == 0 {
		errs = append(errs, Violated("bound", "port %s is bound and has no target", p.Name))
	}
	for _, t := range targets {
		if !draining(t) && !slices.Contains(addresses, t.ID) {
			errs = append(errs, Violated("bound", "port %s: target %s is not an address of its holder, %v", p.Name, t.ID, addresses))
		}
	}
	return errors.Join(errs...)
}
