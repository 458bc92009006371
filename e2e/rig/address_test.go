package rig_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/elb"
)

// TestEndpointStaysWhenThePodIPChanges recreates a pod's sandbox: players find the
// pod at the same endpoint, and the previous IP is no target any more.
func TestEndpointStaysWhenThePodIPChanges(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{})
	ctx := t.Context()
	p := newPod(t, r, "mover", "game=7777/UDP")
	must(t, p.WaitBound(ctx))
	before, err := p.Endpoint()
	must(t, err)
	port, err := p.PortOf(ctx)
	must(t, err)
	for range 2 {
		to, err := r.NewAddress()
		must(t, err)
		must(t, p.Move(ctx, to), p.Start(), p.WaitBound(ctx))
		check(t, r)
		targetsOnly(t, r, p)
	}
	if after, err := p.Endpoint(); err != nil || after != before {
		t.Errorf("its endpoint was %s and is %s, %v", before, after, err)
	}
	if now, err := p.PortOf(ctx); err != nil || now.Value.ListenerARN != port.Value.ListenerARN || now.Value.Generation != port.Value.Generation {
		t.Errorf("it had %+v and has %+v, %v", port, now, err)
	}
}

// targetsOnly checks that the pod's present IP is its only target, and that the claim
// records no other.
func targetsOnly(t *testing.T, r *rig.Rig, p *rig.Pod) {
	t.Helper()
	group := bindingOf(t, r, p).TargetGroups[0]
	left := slices.DeleteFunc(group.Targets, func(t elbemu.Target) bool { return t.State == "draining" })
	if len(left) != 1 || left[0].ID != p.IP {
		t.Errorf("%s is at %s and has targets %+v", p.Name, p.IP, group.Targets)
	}
	if c, err := p.Claim(t.Context()); err != nil || c.Value.PodIP != p.IP || c.Value.PreviousIP != "" {
		t.Errorf("%s is at %s and its claim is %+v, %v", p.Name, p.IP, c, err)
	}
}

// TestPreviousAddressCanBeReusedAtOnce recreates a pod's sandbox and gives its
// previous IP to a new pod before the first pod has deregistered it. It kills the
// first pod's agent at every step of deregistering. The new pod becomes a target only
// after that.
func TestPreviousAddressCanBeReusedAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 2})
	for n, interrupt := range []struct {
		at   call
		when moment
	}{
		{},
		{call{"PUT claim", 0}, before}, {call{"PUT claim", 0}, after},
		{call{"DeregisterTargets", 0}, before}, {call{"DeregisterTargets", 0}, after},
		{call{"PUT claim", 1}, before}, {call{"PUT claim", 1}, after},
		{call{"RegisterTargets", 0}, before}, {call{"RegisterTargets", 0}, after},
	} {
		name := fmt.Sprintf("killed %s %s %d", interrupt.when, strings.ReplaceAll(interrupt.at.name, "/", " "), interrupt.at.before)
		if interrupt.at.name == "" {
			name = "undisturbed"
		}
		t.Run(name, func(t *testing.T) {
			formerAddressIsGivenAtOnce(t, r, n, interrupt.at, interrupt.when)
		})
	}
}

func formerAddressIsGivenAtOnce(t *testing.T, r *rig.Rig, n int, at call, when moment) {
	ctx := t.Context()
	mover := newPod(t, r, fmt.Sprintf("mover-%d", n), "game=7777/UDP")
	must(t, mover.WaitBound(ctx))
	former := mover.IP
	to, err := r.NewAddress()
	must(t, err)
	must(t, mover.Move(ctx, to))

	heir, err := r.NewPodAt(ctx, fmt.Sprintf("heir-%d", n), "game=7777/UDP", former)
	must(t, err)
	var asked atomic.Int32
	heir.FaultAllocator(func(*http.Request) rig.CallFault { return rig.CallFault{After: func(int) { asked.Add(1) }} })
	heir.Fault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "RegisterTargets" && hasTarget(r, mover, former) {
			t.Errorf("%s becomes the target of a second pod", former)
		}
		return elbemu.Fault{}
	})
	must(t, heir.Start())
	waitForRetry := func() {
		t.Helper()
		seen := asked.Load()
		must(t, rig.Eventually(ctx, "the heir to ask again", func() error {
			if asked.Load() == seen {
				return errors.New("it has not")
			}
			return nil
		}))
	}
	waitForRetry()

	ended := make(chan struct{})
	if at.name == "" {
		close(ended)
	} else {
		follow(mover).interrupt(at, when, func() {
			defer close(ended)
			if err := mover.Kill(ctx); err != nil {
				t.Error(err)
			}
			if when == before {
				waitForRetry()
			}
		})
	}
	must(t, mover.Start())
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("the agent never came to call %v", at)
	}
	check(t, r)
	must(t, mover.Start(), mover.WaitBound(ctx), heir.WaitBound(ctx))
	check(t, r)
	targetsOnly(t, r, mover)
	targetsOnly(t, r, heir)
	must(t, mover.Terminate(ctx), heir.Terminate(ctx))
}

func hasTarget(r *rig.Rig, p *rig.Pod, ip string) bool {
	for _, g := range r.Emulator.Snapshot().TargetGroups {
		if g.Tags[elb.TagPodUID] == p.UID && slices.ContainsFunc(g.Targets, func(t elbemu.Target) bool { return t.ID == ip && t.State != "draining" }) {
			return true
		}
	}
	return false
}

// TestPodsThatExchangeAddresses checks that two pods whose previous IPs are each
// other's do not wait forever.
func TestPodsThatExchangeAddresses(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 2})
	ctx := t.Context()
	one, two := newPod(t, r, "one", "game=7777/UDP"), newPod(t, r, "two", "game=7777/UDP")
	must(t, one.WaitBound(ctx), two.WaitBound(ctx))
	first, second := one.IP, two.IP
	must(t, one.Move(ctx, second), two.Move(ctx, first))
	must(t, one.Start(), two.Start(), one.WaitBound(ctx), two.WaitBound(ctx))
	check(t, r)
	targetsOnly(t, r, one)
	targetsOnly(t, r, two)
}
