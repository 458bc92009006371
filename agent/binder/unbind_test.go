package binder_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// leftovers are the bindings of a claim that is over.
func (w *world) leftovers() []holding.Leftover {
	h := w.bound()
	h.Drop()
	return h.TakeLeftovers()
}

func TestUnbindDeletesTheListenerFirst(t *testing.T) {
	w := newWorld(t)
	leftovers := w.leftovers()
	before := len(w.emulator.Calls())
	gone := w.binder().Unbind(t.Context(), leftovers)
	var order []string
	for _, c := range w.emulator.Calls()[before:] {
		order = append(order, c.Action)
	}
	if want := []string{"DescribeTags", "DeleteListener", "DeleteTargetGroup"}; !slices.Equal(order, want) {
		t.Errorf("unbinding made the calls %v, want %v", order, want)
	}
	if s := w.emulator.Snapshot(); len(gone) != 1 || len(s.Listeners) != 0 || len(s.TargetGroups) != 0 {
		t.Errorf("%d leftovers are gone, of AWS is left %+v", len(gone), s)
	}
}

func TestUnbindRetriesWhileTheTargetGroupIsInUse(t *testing.T) {
	w := newWorld(t)
	leftovers := w.leftovers()
	before, inUse := len(w.emulator.Calls()), 3
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DeleteTargetGroup" && inUse > 0 {
			inUse--
			return elbemu.Refuse(400, "ResourceInUse", "in use")
		}
		return elbemu.Fault{}
	})
	gone := w.binder().Unbind(t.Context(), leftovers)
	deletions := slices.DeleteFunc(w.actions(before), func(a string) bool { return a != "DeleteListener" })
	if len(gone) != 1 || len(deletions) != 1 || w.slept != 10*time.Second {
		t.Errorf("%d leftovers are gone after %v, with %d deletions of the listener", len(gone), w.slept, len(deletions))
	}
}

// All listeners come first, so that all target groups wait together. None is tried before
// its wait is over.
func TestTargetGroupsAreDeletedOnceTheirWindowIsOver(t *testing.T) {
	w := newWorldOn(t, elbemu.Config{Delays: &elbemu.Delays{InUse: 20 * time.Second}})
	w.claim.InUseSeconds = 20
	w.morePorts(3)
	leftovers := w.leftovers()
	before := len(w.emulator.Calls())
	gone := w.binder().Unbind(t.Context(), leftovers)
	var order []string
	for _, c := range w.emulator.Calls()[before:] {
		if c.Action != "DescribeTags" {
			order = append(order, c.Action)
		}
	}
	want := []string{"DeleteListener", "DeleteListener", "DeleteListener", "DeleteTargetGroup", "DeleteTargetGroup", "DeleteTargetGroup"}
	if len(gone) != 3 || w.slept != 20*time.Second || !slices.Equal(order, want) {
		t.Errorf("%d leftovers are gone after %v with the calls %v", len(gone), w.slept, order)
	}
}

func TestUnbindLeavesForeignResources(t *testing.T) {
	w := newWorld(t)
	leftovers := w.leftovers()
	w.retag(leftovers[0].TargetGroup)
	gone := w.binder().Unbind(t.Context(), leftovers)
	if s := w.emulator.Snapshot(); len(gone) != 0 || len(s.Listeners) != 1 || len(s.TargetGroups) != 1 {
		t.Errorf("%d leftovers are gone, of AWS is left %+v", len(gone), s)
	}
}

func TestPreviousIPIsDeregistered(t *testing.T) {
	for name, known := range map[string]bool{"target group recorded": true, "target group forgotten": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			claim := w.bound().Claim
			group := claim.Ports[0].TargetGroupARN
			if known {
				w.claim = claim
			}
			if err := w.aws.RegisterTarget(t.Context(), group, "127.30.0.6", 7777); err != nil {
				t.Fatal(err)
			}
			w.claim.PreviousIP = "127.30.0.6"
			if err := w.binder().DeregisterPreviousIP(t.Context(), w.holding()); err != nil {
				t.Fatal(err)
			}
			if got := w.targets(group); !slices.Equal(got, []string{podIP}) {
				t.Errorf("targets are %v", got)
			}
		})
	}
}

func TestPreviousIPStaysInForeignTargetGroups(t *testing.T) {
	w := newWorld(t)
	w.claim = w.bound().Claim
	group := w.claim.Ports[0].TargetGroupARN
	w.retag(group)
	w.claim.PreviousIP = podIP
	if err := w.binder().DeregisterPreviousIP(t.Context(), w.holding()); !errors.Is(err, failure.ErrForeign) {
		t.Errorf("got %v", err)
	}
	if got := w.targets(group); !slices.Equal(got, []string{podIP}) {
		t.Errorf("targets are %v", got)
	}
}

func TestDeregisterTakesThePodOutOfItsTargetGroups(t *testing.T) {
	w := newWorld(t)
	leftovers := w.leftovers()
	if err := w.aws.RegisterTarget(t.Context(), leftovers[0].TargetGroup, podIP, 7778); err != nil {
		t.Fatal(err)
	}
	b := w.binder()
	b.Deregister(t.Context(), leftovers)
	targets, err := w.aws.Targets(t.Context(), leftovers[0].TargetGroup)
	targets = slices.DeleteFunc(targets, elb.Target.Draining)
	if err != nil || len(targets) != 1 || targets[0].Port != 7778 {
		t.Errorf("targets are %+v, %v", targets, err)
	}
	before := len(w.emulator.Calls())
	b.Unbind(t.Context(), leftovers)
	if slices.Contains(w.actions(before), "DescribeTags") {
		t.Error("the owner was checked twice")
	}
}
