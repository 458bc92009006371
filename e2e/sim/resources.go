package sim

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// resources finds the listeners and target groups of an account by what the judge asks for,
// so that a change is checked without walking all of them.
type resources struct {
	listeners map[string]elbemu.Listener    // by ARN
	groups    map[string]elbemu.TargetGroup // by ARN
	// onPort has the listeners on a port, and those that are tagged with it, by port lease.
	onPort map[string][]string
	// withTarget has the target groups by address.
	withTarget map[string][]string
	// changedPorts and changedTargets are what changed since the judge looked.
	changedPorts, changedTargets map[string]bool
}

func newResources(s elbemu.Snapshot) *resources {
	r := &resources{
		listeners: make(map[string]elbemu.Listener), groups: make(map[string]elbemu.TargetGroup), onPort: make(map[string][]string), withTarget: make(map[string][]string),
		changedPorts: make(map[string]bool), changedTargets: make(map[string]bool),
	}
	for _, l := range s.Listeners {
		r.putListener(l.ARN, l, true)
	}
	for _, g := range s.TargetGroups {
		r.putGroup(g.ARN, g, true)
	}
	return r
}

// portsOf are the port leases that a listener is about.
func portsOf(l elbemu.Listener) []string {
	all := []string{ledger.PortName(ledger.LoadBalancerID(l.LoadBalancerARN), l.Port)}
	if tagged, _, _ := strings.Cut(l.Tags[elb.TagLease], "/"); tagged != "" && tagged != all[0] {
		all = append(all, tagged)
	}
	return all
}

func targetsOf(g elbemu.TargetGroup) (all []string) {
	for _, t := range g.Targets {
		all = append(all, t.ID)
	}
	return all
}

// putListener records a listener as it is now, or that it is gone.
func (r *resources) putListener(arn string, now elbemu.Listener, exists bool) {
	if before, known := r.listeners[arn]; known {
		unlink(r.onPort, portsOf(before), arn, r.changedPorts)
	}
	delete(r.listeners, arn)
	if exists {
		r.listeners[arn] = now
		link(r.onPort, portsOf(now), arn, r.changedPorts)
	}
}

// putGroup records a target group as it is now, or that it is gone.
func (r *resources) putGroup(arn string, now elbemu.TargetGroup, exists bool) {
	if before, known := r.groups[arn]; known {
		unlink(r.withTarget, targetsOf(before), arn, r.changedTargets)
	}
	delete(r.groups, arn)
	if exists {
		r.groups[arn] = now
		link(r.withTarget, targetsOf(now), arn, r.changedTargets)
	}
}

func link(index map[string][]string, keys []string, arn string, changed map[string]bool) {
	for _, key := range keys {
		index[key] = append(index[key], arn)
		changed[key] = true
	}
}

func unlink(index map[string][]string, keys []string, arn string, changed map[string]bool) {
	for _, key := range keys {
		index[key] = slices.DeleteFunc(index[key], func(other string) bool { return other == arn })
		if len(index[key]) == 0 {
			delete(index, key)
		}
		changed[key] = true
	}
}

// around is the part of the account that a port, and some ARNs, are about.
func (r *resources) around(port string, arns ...string) (s elbemu.Snapshot) {
	for _, arn := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.onPort[port], arns)))) {
		if l, exists := r.listeners[arn]; exists {
			s.Listeners = append(s.Listeners, l)
		}
		if g, exists := r.groups[arn]; exists {
			s.TargetGroups = append(s.TargetGroups, g)
		}
	}
	return s
}

// at are the target groups that have an address.
func (r *resources) at(address string) (s elbemu.Snapshot) {
	for _, arn := range slices.Sorted(slices.Values(r.withTarget[address])) {
		s.TargetGroups = append(s.TargetGroups, r.groups[arn])
	}
	return s
}

// sameAs returns an error if others have other listeners or target groups.
func (r *resources) sameAs(other *resources) error {
	same := func(a, b []string) bool { slices.Sort(a); slices.Sort(b); return slices.Equal(a, b) }
	if !same(slices.Collect(maps.Keys(r.listeners)), slices.Collect(maps.Keys(other.listeners))) || !same(slices.Collect(maps.Keys(r.groups)), slices.Collect(maps.Keys(other.groups))) {
		return fmt.Errorf("the simulation missed a change in AWS: it knows %d listeners and %d target groups, and there are %d and %d", len(r.listeners), len(r.groups), len(other.listeners), len(other.groups))
	}
	return nil
}

// update records what a call has changed: what it names, and what its answer names.
func (r *resources) update(e *elbemu.Emulator, params url.Values, answer []byte) {
	for _, arn := range append(named(answer), params.Get("ListenerArn"), params.Get("TargetGroupArn"), params.Get("DefaultActions.member.1.TargetGroupArn")) {
		switch {
		case strings.Contains(arn, ":listener/"):
			before := r.listeners[arn]
			now, exists := e.Listener(arn)
			r.putListener(arn, now, exists)
			for _, f := range slices.Concat(before.Forwards, now.Forwards) {
				g, exists := e.TargetGroup(f.TargetGroupARN)
				r.putGroup(f.TargetGroupARN, g, exists)
			}
		case strings.Contains(arn, ":targetgroup/"):
			g, exists := e.TargetGroup(arn)
			r.putGroup(arn, g, exists)
		}
	}
}

// named are the ARNs of new things in an answer.
func named(answer []byte) (arns []string) {
	for _, tag := range []string{"<ListenerArn>", "<TargetGroupArn>"} {
		if _, rest, found := strings.Cut(string(answer), tag); found {
			arn, _, _ := strings.Cut(rest, "<")
			arns = append(arns, arn)
		}
	}
	return arns
}
