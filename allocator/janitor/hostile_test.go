package janitor_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// plant creates a target group and a listener as a game can with the AWS credentials of its
// pod: with any of its own tags, any name, any port, and the victim as its target.
func (w *account) plant(name string, tags elb.Tags, groupName string, port int) {
	w.Helper()
	group, err := w.aws.CreateTargetGroup(w.Context(), elb.TargetGroupSpec{
		Name: groupName, Protocol: api.UDP, Port: 7777, VPC: "vpc-local", HealthCheck: elb.HealthCheck{Protocol: "TCP", Port: 9901}, Tags: tags,
	})
	w.must(err)
	w.must(w.aws.RegisterTarget(w.Context(), group, victimIP, 7777))
	w.made[name+"/group"] = group
	w.listen(name, tags, port, group)
}

func (w *account) listen(name string, tags elb.Tags, port int, group string) {
	w.Helper()
	listener, err := w.aws.CreateListener(w.Context(), elb.ListenerSpec{
		LoadBalancerARN: w.loadBalancers[0], Port: port, Protocol: api.UDP, TargetGroupARN: group, Tags: tags,
	})
	w.must(err)
	w.made[name+"/listener"] = listener
}

// victimIP is an address that another pod has, or a database.
const victimIP = "127.30.0.77"

// A game publishes another address of the VPC. Its pod lives and holds a port; its claim
// does not list what it made.
func TestLivePodKeepsOnlyItsBinding(t *testing.T) {
	w := newAccount(t, 1)
	group, listener := w.bind("game", "game", 0, livePort, 1)
	w.lives("game")
	w.record("game", 0, livePort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	f := w.fenceOf(0, livePort, 1)
	newer, nobodys := f, w.fenceOf(0, livePort+5, 1)
	newer.Generation = 999
	w.plant("newer", tagsOf("game", newer), elb.TargetGroupName(auditLedger, newer), livePort+1)
	w.plant("no lease", tagsOf("game", nobodys), elb.TargetGroupName(auditLedger, nobodys), livePort+5)
	w.plant("same fence", tagsOf("game", f), "pl-second", livePort+2)
	w.listen("second", tagsOf("game", f), livePort+3, group)
	malformed := tagsOf("game", f)
	malformed.Lease = ""
	w.plant("malformed", malformed, "pl-malformed", livePort+4)
	w.must(w.rounds(2))
	w.expectGone()
	w.must(w.rounds(3))
	w.expectGone(append(whole("newer", "no lease", "same fence", "malformed"), "second/listener")...)
	w.is(0, livePort, ledger.Bound)
}

// The pod has no claim that could be granted: it waits on purpose.
func TestPodWithoutAGrantKeepsNothing(t *testing.T) {
	w := newAccount(t, 1)
	w.lives("game")
	_, err := w.claims.Create(t.Context(), ledger.ClaimName("uid-game"), ledger.Claim{Namespace: "games", Pod: "game", PodUID: "uid-game", State: ledger.Waiting, Duration: time.Hour})
	w.must(err)
	f := w.fenceOf(0, livePort, 999)
	w.plant("game", tagsOf("game", f), elb.TargetGroupName(auditLedger, f), livePort)
	w.must(w.rounds(4))
	w.expectGone(whole("game")...)
}

// The agent reports a listener on another port as the one of its binding.
func TestRecordedListenerOnAnotherPortIsDeleted(t *testing.T) {
	w := newAccount(t, 1)
	group := w.group("game", "game", w.fenceOf(0, livePort, 1))
	w.lives("game")
	w.listen("game", tagsOf("game", w.fenceOf(0, livePort, 1)), livePort+1, group)
	w.record("game", 0, livePort, ledger.Port{State: ledger.Claimed, TargetGroupARN: group, ListenerARN: w.made["game/listener"]})
	w.must(w.rounds(4))
	w.expectGone("game/listener")
}

// Both leases of a live pod were lost, and its agent never has the binding adopted.
func TestBindingThatIsNeverAdoptedIsDeleted(t *testing.T) {
	w := newAccount(t, 1)
	w.bind("game", "game", 0, livePort, 1)
	w.lives("game")
	patience := int(5 * claimDuration / roundTime)
	w.must(w.rounds(patience))
	w.expectGone()
	w.must(w.rounds(2))
	w.expectGone(whole("game")...)
}

// Tags may name any namespace, also one that the allocator has no rights in.
func TestTagsOfAForbiddenNamespaceProtectNothing(t *testing.T) {
	w := newAccount(t, 1)
	w.bind("lost", "lost", 0, livePort, 1)
	group, listener := w.bind("game", "game", 0, livePort+1, 1)
	w.record("game", 0, livePort+1, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	newer := w.fenceOf(0, livePort+1, 999)
	w.plant("newer", tagsOf("stranger", newer), elb.TargetGroupName(auditLedger, newer), livePort+2)
	w.noPods = ledger.ErrPodForbidden
	w.must(w.rounds(4))
	w.expectGone(whole("newer")...)
	w.is(0, livePort+1, ledger.Bound)
	// Both leases of the first are lost, and its namespace may be one of games again.
	sweeps, audits := w.errorsOf(int(5 * claimDuration / roundTime))
	w.must(audits)
	w.expectError("sweeps that cannot tell whether the holder lives", sweeps, "list it under games")
	w.expectGone(append(whole("newer"), whole("lost")...)...)
	w.is(0, livePort+1, ledger.Bound)
}

// A load balancer that was taken out of the pool is not listed any more, and agents may still
// create listeners on it.
func TestOrphanOnALoadBalancerOfNoPoolIsDeleted(t *testing.T) {
	w := newAccount(t, 2)
	w.stock.SetPools(nil)
	w.must(w.stock.Describe(t.Context()))
	w.lives("game")
	f := w.fenceOf(0, livePort, 1)
	f.Generation = 999
	w.plant("game", tagsOf("game", f), elb.TargetGroupName(auditLedger, f), livePort)
	w.foreign("stranger", 0, livePort+1)
	w.record("other", 0, livePort, ledger.Port{State: ledger.Free})
	w.must(w.rounds(4))
	w.expectGone(whole("game")...)
}

// The game has such a listener forward to the target group of its binding. Its agent cannot
// create the binding's own listener then, because a target group is of one load balancer.
func TestListenerOfABindingOnALoadBalancerOfNoPoolIsDeleted(t *testing.T) {
	w := newAccount(t, 2)
	w.stock.SetPools(nil)
	w.must(w.stock.Describe(t.Context()))
	f := w.fenceOf(0, livePort, 1)
	group := w.group("game", "game", f)
	w.lives("game")
	w.record("game", 0, livePort, ledger.Port{State: ledger.Claimed, TargetGroupARN: group})
	listener, err := w.aws.CreateListener(t.Context(), elb.ListenerSpec{
		LoadBalancerARN: w.loadBalancers[1], Port: livePort, Protocol: api.UDP, TargetGroupARN: group, Tags: tagsOf("game", f),
	})
	w.must(err)
	w.made["game/listener"] = listener
	w.must(w.rounds(4))
	w.expectGone("game/listener")
}

// live makes the whole binding of a live pod.
func (w *account) live(pod string, port int) (group string) {
	w.Helper()
	group, listener := w.bind(pod, pod, 0, port, 1)
	w.lives(pod)
	w.record(pod, 0, port, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	return group
}

// A game registers another address in the target group of its own binding.
func TestTargetsOfALivePodThatAreNotThePodAreDeregistered(t *testing.T) {
	w := newAccount(t, 1)
	group := w.live("game", livePort)
	w.must(w.aws.RegisterTarget(t.Context(), group, victimIP, 7777))
	w.must(w.rounds(1))
	if n := len(w.targets("game/group")); n != 2 {
		t.Errorf("%d targets after one sighting", n)
	}
	w.must(w.rounds(1))
	if got := w.targets("game/group"); len(got) != 1 || got[0] != podIP {
		t.Errorf("it forwards to %v", got)
	}
	w.is(0, livePort, ledger.Bound)
}

// The ports take turns; more are checked while the budget is idle.
func TestIdleBudgetChecksMoreTargets(t *testing.T) {
	for idle, want := range map[bool]int{false: 4, true: 24} {
		t.Run(fmt.Sprint("idle ", idle), func(t *testing.T) {
			w := newAccount(t, 1)
			for n := range 30 {
				w.live(fmt.Sprintf("game-%d", n), firstAudit+n)
			}
			w.janitor.TryDescribes = func(context.Context, int) (bool, error) { return idle, nil }
			w.must(w.janitor.Audit(t.Context()))
			if got := w.emulator.CallCounts()["DescribeTargetHealth"].Total; got != want {
				t.Errorf("the targets of %d ports were checked, want %d", got, want)
			}
		})
	}
}

// What AWS says of a target is written to its port lease when it changes.
func TestTargetHealthIsRecordedWhenItChanges(t *testing.T) {
	w := newAccount(t, 1)
	group := w.live("game", livePort)
	lease := w.fenceOf(0, livePort, 1).Lease
	w.must(w.rounds(2))
	r, _ := w.ledger.Ports.Row(lease)
	if r.Value.TargetHealth != "healthy" {
		t.Errorf("it is %q", r.Value.TargetHealth)
	}
	w.must(w.rounds(2))
	if again, _ := w.ledger.Ports.Row(lease); again.Version != r.Version {
		t.Error("it was written although it has not changed")
	}
	w.must(w.aws.DeleteListener(t.Context(), w.made["game/listener"]))
	w.must(w.rounds(2)) // damaged: the agent binds again
	w.listen("again", tagsOf("game", w.fenceOf(0, livePort, 1)), livePort, group)
	w.ledger.Ports.Change(lease, func(p *ledger.Port) {
		p.State, p.ListenerARN, p.TargetHealth = ledger.Bound, w.made["again/listener"], "unused: Target.NotInUse"
	})
	w.must(w.rounds(1))
	if got := w.ledger.Ports.Value(lease).TargetHealth; got != "healthy" {
		t.Errorf("after the change it is %q", got)
	}
}
