package rig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// Check holds S1, S2, S3 and S6 and what bindings must look like against the
// ledger and the emulator as they are now. It is true at any moment, whatever is
// under way.
func (r *Rig) Check(ctx context.Context) error {
	// AWS is read between two readings of the ledger, and only what did not
	// change meanwhile is judged.
	earlier, before, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	snapshot := r.Emulator.Snapshot()
	claims, after, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	versions := make(map[string]string)
	for _, p := range before {
		versions[p.Name] = p.Version
	}
	errs := []error{r.checkForeign(), r.history.check(), checkHolders(claims, after), r.checkTargets(claims, snapshot)}
	for _, p := range after {
		if versions[p.Name] == p.Version {
			errs = append(errs, r.checkBinding(p, earlier, claims, snapshot))
		}
	}
	return errors.Join(errs...)
}

// checkHolders is S1 as the claims see it: no port is in two granted claims.
func checkHolders(claims []ClaimRecord, ports []PortRecord) error {
	var errs []error
	byName := make(map[string]ledger.Port)
	for _, p := range ports {
		byName[p.Name] = p.Value
	}
	holder := make(map[string]string)
	for _, c := range claims {
		if c.Value.State != ledger.Granted {
			continue
		}
		for _, p := range c.Value.Ports {
			if !byName[p.Fence.Lease].HeldBy(c.Name, p.Fence) {
				continue
			}
			if other, held := holder[p.Fence.Lease]; held {
				errs = append(errs, fmt.Errorf("S1: port %s is in claims %s and %s", p.Fence.Lease, other, c.Name))
			}
			holder[p.Fence.Lease] = c.Name
		}
	}
	return errors.Join(errs...)
}

// checkTargets is S6: a pod IP is a target of one holder. Holders that are being
// released do not count; their targets go with their target groups.
func (r *Rig) checkTargets(claims []ClaimRecord, s elbemu.Snapshot) error {
	var errs []error
	granted := make(map[string]bool)
	for _, c := range claims {
		granted[c.Value.PodUID] = c.Value.State == ledger.Granted
	}
	holder := make(map[string]string) // pod IP → pod UID
	for _, g := range s.TargetGroups {
		uid := g.Tags[elb.TagPodUID]
		if g.Tags[elb.TagLedger] != r.Ledger || !granted[uid] {
			continue
		}
		for _, t := range g.Targets {
			if t.State == "draining" {
				continue
			}
			if other, taken := holder[t.ID]; taken && other != uid {
				errs = append(errs, fmt.Errorf("S6: pod IP %s is a target of pods %s and %s", t.ID, other, uid))
			}
			holder[t.ID] = uid
		}
	}
	return errors.Join(errs...)
}

// checkBinding holds one port lease against AWS: nothing of an older generation
// listens on it, and a bound one forwards to its holder's addresses alone.
func (r *Rig) checkBinding(p PortRecord, earlier, claims []ClaimRecord, s elbemu.Snapshot) error {
	var errs []error
	for _, l := range s.Listeners {
		if l.LoadBalancerARN != p.Value.LoadBalancerARN || l.Port != p.Value.ListenerPort {
			continue
		}
		if l.Tags[elb.TagLedger] == r.Ledger && l.Tags[elb.TagGeneration] != strconv.Itoa(p.Value.Generation) && p.Value.Holder != "" {
			errs = append(errs, fmt.Errorf("S2: port %s is at generation %d and its listener at %s", p.Name, p.Value.Generation, l.Tags[elb.TagGeneration]))
		}
	}
	if p.Value.State != ledger.Bound {
		return errors.Join(errs...)
	}
	// An address may have been vacated since AWS was read.
	holders := holdersOf(p, append(earlier, claims...))
	if len(holdersOf(p, claims)) > 0 {
		errs = append(errs, checkBound(p, holders, s))
	}
	return errors.Join(errs...)
}

// holdersOf are the granted claims among these that have a port.
func holdersOf(p PortRecord, claims []ClaimRecord) []ClaimRecord {
	return slices.DeleteFunc(slices.Clone(claims), func(c ClaimRecord) bool {
		return c.Name != p.Value.Holder || c.Value.State != ledger.Granted
	})
}

func checkBound(p PortRecord, holders []ClaimRecord, s elbemu.Snapshot) error {
	listening := false
	for _, l := range s.Listeners {
		if l.ARN == p.Value.ListenerARN {
			listening = true
			if len(l.Forwards) != 1 || l.Forwards[0].TargetGroupARN != p.Value.TargetGroupARN {
				return fmt.Errorf("port %s: its listener forwards to %v, not to %s alone", p.Name, l.Forwards, p.Value.TargetGroupARN)
			}
		}
	}
	if !listening {
		return fmt.Errorf("port %s is bound and has no listener %s", p.Name, p.Value.ListenerARN)
	}
	for _, g := range s.TargetGroups {
		if g.ARN != p.Value.TargetGroupARN {
			continue
		}
		for _, t := range g.Targets {
			recorded := func(c ClaimRecord) bool { return c.Value.Records(t.ID) }
			if t.State != "draining" && !slices.ContainsFunc(holders, recorded) {
				return fmt.Errorf("port %s: target %s is not its holder's address %s", p.Name, t.ID, holders[0].Value.PodIP)
			}
		}
		if len(g.Targets) == 0 {
			return fmt.Errorf("port %s is bound and has no target", p.Name)
		}
		return nil
	}
	return fmt.Errorf("port %s is bound and has no target group %s", p.Name, p.Value.TargetGroupARN)
}

// CheckSettled is for moments when nothing is under way: everything of this
// ledger in AWS is accounted for by a held port.
func (r *Rig) CheckSettled(ctx context.Context) error {
	_, ports, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, p := range ports {
		if p.Value.Holder != "" {
			known[p.Value.TargetGroupARN], known[p.Value.ListenerARN] = true, true
		}
	}
	return r.leftOver(known, "")
}

// CheckSettledFor is CheckSettled for what one pod has, when others are busy.
func (r *Rig) CheckSettledFor(ctx context.Context, p *Pod) error {
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, port := range ports {
		known[port.Value.TargetGroupARN], known[port.Value.ListenerARN] = true, true
	}
	return r.leftOver(known, p.UID)
}

// CheckGone is for a pod that has ended: it holds no port and has nothing in
// AWS.
func (r *Rig) CheckGone(ctx context.Context, p *Pod) error {
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return err
	}
	if len(ports) > 0 {
		return fmt.Errorf("pod %s still holds port %s", p.Name, ports[0].Name)
	}
	return r.leftOver(nil, p.UID)
}

// leftOver is an error for each thing of this ledger in AWS that is not known,
// of one pod or, with an empty UID, of all.
func (r *Rig) leftOver(known map[string]bool, podUID string) error {
	ours := func(tags map[string]string) bool {
		return tags[elb.TagLedger] == r.Ledger && (podUID == "" || tags[elb.TagPodUID] == podUID)
	}
	var errs []error
	s := r.Emulator.Snapshot()
	for _, l := range s.Listeners {
		if ours(l.Tags) && !known[l.ARN] {
			errs = append(errs, fmt.Errorf("listener %s on port %d is left over", l.ARN, l.Port))
		}
	}
	for _, g := range s.TargetGroups {
		if ours(g.Tags) && !known[g.ARN] {
			errs = append(errs, fmt.Errorf("target group %s is left over", g.ARN))
		}
	}
	return errors.Join(errs...)
}

// CheckEmpty is for the end: no claim, no held port, nothing in AWS.
func (r *Rig) CheckEmpty(ctx context.Context) error {
	claims, ports, err := r.Leases(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range claims {
		errs = append(errs, fmt.Errorf("claim lease %s of %s is left over, %s", c.Name, c.Value.Pod, c.Value.State))
	}
	for _, p := range ports {
		if p.Value.Held() {
			errs = append(errs, fmt.Errorf("port %s is still %s for %s", p.Name, p.Value.State, p.Value.Pod))
		}
	}
	return errors.Join(append(errs, r.CheckSettled(ctx))...)
}
