package rig_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// TestIPOfAReleasingPortWaitsForDeregistrationAlone gives the IP of a crashed pod to a new
// one while AWS throttles every deletion, as when a whole fleet is replaced. The listener
// of the crashed pod is still there when the new pod is bound, and does not forward to it.
func TestIPOfAReleasingPortWaitsForDeregistrationAlone(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 2})
	ctx := t.Context()
	former := newPod(t, r, "former", "game=7777/UDP")
	must(t, former.WaitBound(ctx))
	before, err := former.PortOf(ctx)
	must(t, err)
	throttled := func(c elbemu.Call) elbemu.Fault {
		if strings.HasPrefix(c.Action, "Delete") {
			return elbemu.Throttle()
		}
		return elbemu.Fault{}
	}
	for _, a := range r.Replicas {
		a.Fault(throttled)
	}
	must(t, former.Crash(ctx))

	heir, err := r.NewPodAt(ctx, "heir", "game=7777/UDP", former.IP)
	must(t, err)
	heir.Fault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "RegisterTargets" && hasTarget(r, former, former.IP) {
			t.Errorf("%s becomes the target of a second pod", former.IP)
		}
		return elbemu.Fault{}
	})
	must(t, heir.Start(), heir.WaitBound(ctx))
	check(t, r)
	now, err := r.Port(ctx, before.Name)
	if err != nil || now.Value.State != ledger.Releasing || !now.Value.Deregistered {
		t.Errorf("the former port is %+v, %v", now.Value, err)
	}
	listens := false
	for _, l := range r.Emulator.Snapshot().Listeners {
		listens = listens || l.ARN == before.Value.ListenerARN
	}
	if !listens {
		t.Error("the former listener is gone: nothing was shown")
	}
	for _, a := range r.Replicas {
		a.Fault(nil)
	}
	must(t, rig.Eventually(ctx, "the former port to be free", func() error {
		p, err := r.Port(ctx, before.Name)
		if err == nil && p.Value.State == ledger.Releasing {
			err = errors.New("it is releasing")
		}
		if err != nil {
			return fmt.Errorf("port %s: %w", before.Name, err)
		}
		return nil
	}))
	check(t, r)
}
