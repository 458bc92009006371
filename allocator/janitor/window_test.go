package janitor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
)

const (
	inUseWindow = 20 * time.Second
	passTime    = 500 * time.Millisecond
)

// slowAccount is an account where target groups stay in use for a while after their listener
// was deleted, with that many releasing ports that need no deregistering.
func slowAccount(t *testing.T, ports int) *account {
	t.Helper()
	w := newAccountOn(t, 1, elbemu.Config{Delays: &elbemu.Delays{InUse: inUseWindow}})
	w.janitor.Timing.InUseWindow = inUseWindow
	for n := range ports {
		balancer, port, pod := 0, firstAudit+n, fmt.Sprintf("game-%d", n)
		group, listener := w.bind(pod, pod, balancer, port, 1)
		w.record(pod, balancer, port, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener, Deregistered: true})
	}
	return w
}

// passes makes passes until no target group is left, at most for a time. The budget regains
// that many deletions with each.
func (w *account) passes(most time.Duration, deletions int) (took time.Duration) {
	w.Helper()
	tokens := 0
	w.janitor.ReserveDeletions = func(_ context.Context, _ string, wanted int) (granted int, wait time.Duration, err error) {
		granted = min(wanted, tokens)
		tokens -= granted
		w.granted += granted
		return granted, 0, nil
	}
	for took < most && len(w.emulator.Snapshot().TargetGroups) > 0 {
		tokens = min(tokens+deletions, 20)
		w.must(w.janitor.UnbindReleasing(w.Context()))
		w.now = w.now.Add(passTime)
		took += passTime
	}
	return took
}

// refused is how many deletions AWS has refused.
func (w *account) refused() int { return w.emulator.CallCounts()["DeleteTargetGroup"].Failed }

// When many ports are released together, AWS refuses no deletion, and all target groups wait
// at the same time. The ports of a load balancer share the calls that inspect them.
func TestTargetGroupsAreDeletedOnceTheirWindowIsOver(t *testing.T) {
	const ports, eachPass = 50, 2
	w := slowAccount(t, ports)
	before := len(w.emulator.Calls())
	took := w.passes(5*time.Minute, eachPass)
	calls := make(map[string]int)
	for _, c := range w.emulator.Calls()[before:] {
		calls[c.Action]++
		if c.Action == "DeleteTargetGroup" && calls["DeleteListener"] < ports {
			t.Errorf("a target group was deleted after %d listeners", calls["DeleteListener"])
		}
	}
	t.Logf("it took %v and the calls %v", took, calls)
	if w.refused() > 0 || calls["DeleteListener"] != ports || calls["DeleteTargetGroup"] != ports {
		t.Errorf("AWS refused %d deletions; the calls are %v", w.refused(), calls)
	}
	if most := ports / 10; calls["DescribeListeners"] > most || calls["DescribeTags"] > most {
		t.Errorf("the calls are %v, want at most %d of each Describe", calls, most)
	}
	if most := 2*ports/eachPass*passTime + inUseWindow; took > most {
		t.Errorf("it took %v, want at most %v", took, most)
	}
}

// A replica that has just become the leader does not know when the listeners were deleted.
func TestNewLeaderWaitsForAWholeWindow(t *testing.T) {
	const ports = 10
	w := slowAccount(t, ports)
	w.passes(5*time.Second, ports) // the listeners
	if s := w.emulator.Snapshot(); len(s.Listeners) > 0 || len(s.TargetGroups) != ports {
		t.Fatalf("%d listeners and %d target groups are left", len(s.Listeners), len(s.TargetGroups))
	}
	w.janitor, w.granted = janitor.New(w.janitor.Config), 0
	w.passes(time.Minute, ports)
	if most := ports + 2; w.granted > most {
		t.Errorf("%d deletions were reserved, want at most %d", w.granted, most)
	}
	if left := len(w.emulator.Snapshot().TargetGroups); w.refused() > 0 || left > 0 {
		t.Errorf("AWS refused %d deletions, and %d target groups are left", w.refused(), left)
	}
}

// The window is longer than the janitor was told, and no listener was recorded. Every refused
// deletion costs the account a call.
func TestRefusedDeletionIsNotTriedAgainForAWholeWindow(t *testing.T) {
	const ports = 5
	w := slowAccount(t, ports)
	for n := range ports {
		r, _ := w.ledger.Ports.Row(w.fenceOf(0, firstAudit+n, 1).Lease)
		r.Value.ListenerARN = ""
		w.ledger.Ports.Recreate(r.Name, r.Value)
	}
	w.janitor.Timing.InUseWindow = 15 * time.Second
	took := w.passes(time.Minute, 2*ports)
	if left := len(w.emulator.Snapshot().TargetGroups); w.refused() != ports || left > 0 {
		t.Errorf("AWS refused %d deletions, and %d target groups are left after %v", w.refused(), left, took)
	}
}

// A foreign listener, or one that AWS does not show yet, keeps one target group in use. It does
// not hold up the others.
func TestRefusedDeletionHoldsUpNoOther(t *testing.T) {
	const ports = 6
	w := slowAccount(t, ports)
	var first string
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DeleteTargetGroup" {
			if arn := c.Params.Get("TargetGroupArn"); first == "" || first == arn {
				first = arn
				return elbemu.Refuse(400, "ResourceInUse", "in use")
			}
		}
		return elbemu.Fault{}
	})
	w.passes(2*inUseWindow-time.Second, 1)
	if left := w.emulator.Snapshot().TargetGroups; len(left) != 1 || left[0].ARN != first {
		t.Errorf("%d target groups are left", len(left))
	}
}

// The audit deletes the listener of an orphaned binding first, and its target group in a later
// audit, when AWS no longer reports that as in use.
func TestOrphansInUseCostNoCall(t *testing.T) {
	w := slowAccount(t, 0)
	w.bind("older", "older", 0, firstAudit, 1)
	w.record("other", 0, firstAudit, ledger.Port{State: ledger.Free, Generation: 2})
	for range 4 {
		w.must(w.janitor.Audit(t.Context()))
		w.now = w.now.Add(roundTime)
	}
	w.expectGone(whole("older")...)
	if w.refused() > 0 {
		t.Errorf("AWS refused %d deletions", w.refused())
	}
}

// A replica unbinds a port, and then another one leads for a while. Meanwhile the port has
// another holder. When the first one leads again, that holder's binding must go, too.
func TestPortIsUnboundAgainAfterALaterHolder(t *testing.T) {
	w := slowAccount(t, 1)
	w.passes(time.Minute, 2)
	group, listener := w.bind("later", "later", 0, firstAudit, 2)
	w.ledger.Ports.Change(w.fenceOf(0, firstAudit, 1).Lease, func(p *ledger.Port) {
		*p = ledger.Port{
			LoadBalancerARN: p.LoadBalancerARN, ListenerPort: firstAudit, Epoch: p.Epoch, Generation: 2, State: ledger.Releasing,
			Holder: "claim-later", TargetGroupARN: group, ListenerARN: listener, Deregistered: true,
		}
	})
	w.passes(time.Minute, 2)
	if left := w.emulator.Snapshot().TargetGroups; len(left) > 0 {
		t.Errorf("target group %s of the later holder is left", left[0].ARN)
	}
}
