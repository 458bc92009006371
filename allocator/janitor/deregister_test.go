package janitor_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// targets are the targets of something that the test created.
func (w *account) targets(name string) (ips []string) {
	for _, g := range w.emulator.Snapshot().TargetGroups {
		for _, t := range g.Targets {
			if g.ARN == w.made[name] && t.State != "draining" {
				ips = append(ips, t.ID)
			}
		}
	}
	return ips
}

// releasing makes a binding whose port is being released.
func (w *account) releasing(pod string, port int) {
	w.Helper()
	group, listener := w.bind(pod, pod, 0, port, 1)
	w.record(pod, 0, port, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener})
}

// No mutating calls are left, so the listeners still forward. The next pods with these
// addresses must get none of that.
func TestTargetsAreDeregisteredWithoutMutatingCalls(t *testing.T) {
	w := newAccount(t, 1)
	const ports = 10 // in three batches
	for n := range ports {
		w.releasing(fmt.Sprintf("game-%d", n), firstAudit+n)
	}
	w.janitor.ReserveDeletions = noDeletions
	before := len(w.emulator.Calls())
	w.must(w.janitor.UnbindReleasing(t.Context()))
	for n := range ports {
		if p := w.ledger.Ports.Value(w.fenceOf(0, firstAudit+n, 1).Lease); p.State != ledger.Releasing || !p.Deregistered {
			t.Errorf("port %d is %s, deregistered: %v", firstAudit+n, p.State, p.Deregistered)
		}
		if left := w.targets(fmt.Sprintf("game-%d/group", n)); len(left) > 0 {
			t.Errorf("port %d forwards to %v", firstAudit+n, left)
		}
	}
	calls := make(map[string]int)
	for _, c := range w.emulator.Calls()[before:] {
		calls[c.Action]++
	}
	if calls["DeregisterTargets"] != ports || calls["DescribeTags"] != 3 || len(calls) != 2 {
		t.Errorf("it made the calls %v", calls)
	}
	before = len(w.emulator.Calls())
	w.must(w.janitor.UnbindReleasing(t.Context()))
	if again := len(w.emulator.Calls()) - before; again > 0 {
		t.Errorf("it made %d calls again", again)
	}
}

// A binding whose claim lease was lost has no recorded address.
func TestTargetsOfALostClaimAreRead(t *testing.T) {
	w := newAccount(t, 1)
	w.releasing("game", firstAudit)
	r, _ := w.ledger.Claims.Row(ledger.ClaimName("uid-game"))
	w.must(w.claims.Delete(t.Context(), r))
	w.janitor.ReserveDeletions = noDeletions
	w.must(w.janitor.UnbindReleasing(t.Context()))
	if left := w.targets("game/group"); len(left) > 0 {
		t.Errorf("it forwards to %v", left)
	}
}

// A port counts as deregistered only once AWS has said so, and only of its own target
// group.
func TestPortIsNotDeregisteredUntilAWSConfirms(t *testing.T) {
	for name, c := range map[string]struct {
		fault elbemu.Fault
		fails string
	}{
		"throttled":          {elbemu.Throttle(), "throttled"},
		"denied":             {elbemu.Refuse(http.StatusForbidden, "AccessDenied", "no"), "allow elasticloadbalancing:DeregisterTargets"},
		"not seen by AWS":    {elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found"), ""},
		"the answer is lost": {elbemu.Fault{Answer: elbemu.AnswerNone}, "deregistering"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAccount(t, 1)
			w.releasing("game", firstAudit)
			w.janitor.ReserveDeletions = noDeletions
			w.emulator.SetFault(func(call elbemu.Call) elbemu.Fault {
				if call.Action == "DeregisterTargets" {
					return c.fault
				}
				return elbemu.Fault{}
			})
			lease := w.fenceOf(0, firstAudit, 1).Lease
			err := w.janitor.UnbindReleasing(t.Context())
			if c.fails == "" {
				w.must(err)
			} else {
				w.expectError("deregistration", err, c.fails)
			}
			if w.ledger.Ports.Value(lease).Deregistered {
				t.Error("the port counts as deregistered")
			}
			w.emulator.SetFault(nil)
			w.now = w.now.Add(roundTime)
			w.must(w.janitor.UnbindReleasing(t.Context()))
			if !w.ledger.Ports.Value(lease).Deregistered {
				t.Error("it was not tried again")
			}
		})
	}
}

func TestForeignTargetGroupIsNotDeregistered(t *testing.T) {
	port := portIn(ledger.Releasing, ledger.AgentAbsent)
	port.Value.TargetGroupARN = "group"
	neighbor := own
	neighbor.Ledger = "another cluster/portlease"
	aws := &bindingAWS{tagsOf: map[string]map[string]string{"group": neighbor.Map()}}
	err := aws.unbind(t, port)
	if err == nil || len(aws.deregistered) > 0 {
		t.Errorf("deregistered %v, %v", aws.deregistered, err)
	}
}

// What the ledger asks for goes on while AWS hangs.
func TestSweepCallsNoAWS(t *testing.T) {
	w := newAccount(t, 1)
	w.cast(0)
	before := len(w.emulator.Calls())
	for range untilAll {
		w.must(w.janitor.Sweep(t.Context()))
		w.now = w.now.Add(roundTime)
	}
	if calls := w.emulator.Calls()[before:]; len(calls) > 0 {
		t.Errorf("it called %v", calls)
	}
	w.is(0, crashedPort, ledger.Releasing)
	w.is(0, cooldownPort, ledger.Free)
}

// The write that records a deregistration conflicts with the agent's report.
func TestDeregistrationIsRecordedAfterAConflict(t *testing.T) {
	w := newAccount(t, 1)
	w.releasing("game", firstAudit)
	lease := w.fenceOf(0, firstAudit, 1).Lease
	w.janitor.ReserveDeletions = noDeletions
	w.emulator.SetFault(func(call elbemu.Call) elbemu.Fault {
		if call.Action != "DeregisterTargets" {
			return elbemu.Fault{}
		}
		return elbemu.Fault{Before: func(context.Context) {
			r, _ := w.ledger.Ports.Row(lease)
			r.Value.Agent = ledger.AgentDeregistering
			w.ledger.Ports.Recreate(lease, r.Value)
		}}
	})
	w.must(w.janitor.UnbindReleasing(t.Context()))
	if p := w.ledger.Ports.Value(lease); !p.Deregistered || p.Agent != ledger.AgentDeregistering {
		t.Errorf("the port is %+v", p)
	}
}

// shared gives the janitor a bucket for all calls that regains six tokens with each pass.
// Every call costs one of them.
func (w *account) shared(pass func()) {
	tokens := 0
	take := func(n int) bool {
		enough := n <= tokens
		if enough {
			tokens -= n
		}
		return enough
	}
	w.janitor.ReserveDeletions = func(_ context.Context, _ string, deletions int) (granted int, wait time.Duration, err error) {
		for granted < deletions && take(1) {
			granted++
		}
		return granted, 0, nil
	}
	w.janitor.ReserveDeregister = func(_ context.Context, _ string, ports, describes int) (bool, error) {
		return take(ports + describes), nil
	}
	for range 40 {
		tokens = min(tokens+6, 10)
		w.must(w.janitor.UnbindReleasing(w.Context()))
		w.now = w.now.Add(roundTime)
		pass()
	}
}

// Deregistering and unbinding share a bucket. The mutating bucket must not stay full while
// everything is deregistered.
func TestUnbindingDoesNotWaitUntilAllIsDeregistered(t *testing.T) {
	w := newAccount(t, 1)
	const ports = 40
	for n := range ports {
		w.releasing(fmt.Sprintf("game-%d", n), firstAudit+n)
	}
	count := func(is func(ledger.Port) bool) (n int) {
		for i := range ports {
			if is(w.ledger.Ports.Value(w.fenceOf(0, firstAudit+i, 1).Lease)) {
				n++
			}
		}
		return n
	}
	passes, late := 0, 0
	w.shared(func() {
		passes++
		deregistered := count(func(p ledger.Port) bool { return p.Deregistered || p.State != ledger.Releasing })
		unbound := count(func(p ledger.Port) bool { return p.State != ledger.Releasing })
		if deregistered < ports && passes > 2 && 2*unbound+2 < passes {
			late++
		}
	})
	if late > 0 {
		t.Errorf("in %d of %d passes fewer than one port was unbound in two passes", late, passes)
	}
	if n := count(func(p ledger.Port) bool { return p.Deregistered || p.State != ledger.Releasing }); n < ports {
		t.Errorf("%d of %d ports are deregistered", n, ports)
	}
}

// A port that has its own target group is unbound only after it is deregistered, if the
// budget allows that.
func TestUnbindingComesAfterDeregistering(t *testing.T) {
	w := newAccount(t, 1)
	w.releasing("game", firstAudit)
	before := len(w.emulator.Calls())
	w.must(w.janitor.UnbindReleasing(t.Context()))
	var order []string
	for _, c := range w.emulator.Calls()[before:] {
		if c.Action == "DeregisterTargets" || c.Action == "DeleteListener" || c.Action == "DeleteTargetGroup" {
			order = append(order, c.Action)
		}
	}
	if !slices.Equal(order, []string{"DeregisterTargets", "DeleteListener", "DeleteTargetGroup"}) {
		t.Errorf("the calls are %v", order)
	}
}

// Somebody deleted the port lease of a pod that is gone. The claim lease must stay as long as
// the binding may forward to the pod's address.
func TestLostPortLeaseOfAReleasedClaimIsRestoredAndUnbound(t *testing.T) {
	w := newAccount(t, 1)
	w.releasing("game", firstAudit)
	lease, claim := w.fenceOf(0, firstAudit, 1).Lease, ledger.ClaimName("uid-game")
	w.ledger.Ports.Remove(lease)
	for range 20 {
		w.must(w.janitor.Sweep(t.Context()))
		w.must(w.janitor.UnbindReleasing(t.Context()))
		w.now = w.now.Add(roundTime)
		_, claimed := w.ledger.Claims.Row(claim)
		if left := w.targets("game/group"); !claimed && len(left) > 0 {
			t.Fatalf("the claim lease is deleted, and its binding forwards to %v", left)
		} else if !claimed {
			break
		}
	}
	w.expectGone(whole("game")...)
	if _, claimed := w.ledger.Claims.Row(claim); claimed {
		t.Error("the claim lease is still there")
	}
}

// Somebody deleted one of two port leases of a pod that is gone. The other port is released
// slowly, and meanwhile nobody else may get the lost one, whose binding is in AWS.
func TestLostPortLeaseIsRestoredWhileAnotherPortIsReleased(t *testing.T) {
	w := newAccount(t, 1)
	w.releasing("game", firstAudit)
	w.bind("lost", "game", 0, firstAudit+1, 1)
	lost := w.fenceOf(0, firstAudit+1, 1)
	w.ledger.Claims.Change(ledger.ClaimName("uid-game"), func(c *ledger.Claim) {
		c.Requested = append(c.Requested, api.Port{Name: "chat", Protocol: api.UDP, TargetPort: 7777})
		c.Ports = append(c.Ports, ledger.PlannedPort{ListenerPort: firstAudit + 1, Fence: lost})
	})
	for range 5 { // more than it takes to delete a suspect
		w.must(w.janitor.Audit(t.Context()))
		w.now = w.now.Add(roundTime)
	}
	w.expectGone()
	w.must(w.janitor.Sweep(t.Context()))
	if p, exists := w.ledger.Ports.Row(lost.Lease); !exists || !p.Value.Holds(ledger.ClaimName("uid-game"), lost) {
		t.Fatalf("the lost lease is %+v", p.Value)
	}
	w.must(w.rounds(6))
	w.expectGone(whole("game", "lost")...)
}

// Another claim has taken the port anew after its lease was lost. The claim lease of the
// former holder records its address until AWS no longer shows the former binding.
func TestClaimStaysWhileAWSShowsWhatItsLostPortLeft(t *testing.T) {
	w := newAccount(t, 1)
	w.releasing("game", firstAudit)
	w.ledger.Ports.Change(w.fenceOf(0, firstAudit, 1).Lease, func(p *ledger.Port) {
		*p = ledger.Port{LoadBalancerARN: p.LoadBalancerARN, ListenerPort: p.ListenerPort, State: ledger.Claimed, Holder: "claim-young", Epoch: "anew", Generation: 1}
	})
	_, err := w.ledger.Claims.Create("claim-young", ledger.Claim{
		Namespace: "games", Pod: "young", PodUID: "young", PodIP: "127.30.0.99", State: ledger.Granted, Duration: time.Hour,
		Ports: []ledger.PlannedPort{{ListenerPort: firstAudit, Fence: api.Fence{Lease: w.fenceOf(0, firstAudit, 1).Lease, Epoch: "anew", Generation: 1}}},
	})
	w.must(err)
	claimed := func() bool { _, exists := w.ledger.Claims.Row(ledger.ClaimName("uid-game")); return exists }
	for n := 0; claimed(); n++ {
		if n > 20 {
			t.Fatal("the claim lease stays for ever")
		}
		w.must(w.janitor.Sweep(t.Context()))
		if left := w.targets("game/group"); !claimed() && len(left) > 0 {
			t.Fatalf("the claim lease is deleted, and its binding forwards to %v", left)
		}
		w.must(w.janitor.Audit(t.Context()))
		w.now = w.now.Add(roundTime)
	}
	w.expectGone(whole("game")...)
}
