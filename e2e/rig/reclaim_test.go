package rig_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/elb"
)

// TestHeldCreateListener checks the fence. A CreateListener is in flight when its
// holder dies, and arrives when the port has another holder. It fails, and nothing of
// the new holder's changes.
func TestHeldCreateListener(t *testing.T) {
	r := start(t, rig.Config{ListenerPorts: "30000"})
	ctx := t.Context()
	held := new(elbemu.Held)
	holdCreateListener(t, r, "dead", held)

	p := newPod(t, r, "heir", "game=7777/UDP")
	must(t, p.WaitBound(ctx))
	check(t, r)
	before := bindingOf(t, r, p)

	outcome, applied := held.Apply()
	if !applied || outcome.Code != "TargetGroupNotFound" {
		t.Errorf("the held CreateListener ended %+v (applied %t), not with TargetGroupNotFound", outcome, applied)
	}
	check(t, r)
	if after := bindingOf(t, r, p); !reflect.DeepEqual(before, after) {
		t.Errorf("the new holder's binding was %+v and is %+v", before, after)
	}
}

// TestHeldCreateListenerDuringSweep lets the held CreateListener through just before
// its target group is deleted. AWS must refuse the deletion. The janitor must find
// and delete the listener before the port has another holder.
func TestHeldCreateListenerDuringSweep(t *testing.T) {
	r := start(t, rig.Config{ListenerPorts: "30000"})
	held := new(elbemu.Held)
	var mu sync.Mutex
	var outcomes []elbemu.Outcome
	note := func(o elbemu.Outcome) {
		mu.Lock()
		defer mu.Unlock()
		outcomes = append(outcomes, o)
	}
	// The janitor deletes one target group after the other.
	var once sync.Once
	r.Replicas[0].Fault(func(c elbemu.Call) (fault elbemu.Fault) {
		if c.Action == "DeleteTargetGroup" {
			once.Do(func() {
				outcome, _ := held.Apply()
				note(outcome)
				fault.After = note
			})
		}
		return fault
	})
	holdCreateListener(t, r, "dead", held)
	p := newPod(t, r, "heir", "game=7777/UDP")
	must(t, p.WaitBound(t.Context()))
	check(t, r)
	must(t, r.CheckAtRest(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	if len(outcomes) < 2 || !outcomes[0].OK() || outcomes[1].Code != "ResourceInUse" {
		t.Errorf("the held listener and then the deletion of its target group ended %+v", outcomes)
	}
}

// holdCreateListener starts a pod, holds its CreateListener, and crashes the pod.
func holdCreateListener(t *testing.T, r *rig.Rig, name string, held *elbemu.Held) {
	t.Helper()
	ctx := t.Context()
	p, err := r.NewPod(ctx, name, "game=7777/UDP")
	must(t, err)
	p.Fault(func(c elbemu.Call) elbemu.Fault {
		if c.Action != "CreateListener" {
			return elbemu.Fault{}
		}
		return elbemu.HoldHanging(held)
	})
	must(t, p.Start())
	must(t, rig.Eventually(ctx, "CreateListener to be under way", func() error {
		if _, arrived := held.Call(); !arrived {
			return fmt.Errorf("it has not arrived")
		}
		return nil
	}))
	must(t, p.Crash(ctx))
}

// binding is a pod's binding in AWS.
type binding struct {
	Listeners    []elbemu.Listener
	TargetGroups []elbemu.TargetGroup
}

func bindingOf(t *testing.T, r *rig.Rig, p *rig.Pod) binding {
	t.Helper()
	s := r.Emulator.Snapshot()
	b := binding{
		slices.DeleteFunc(s.Listeners, func(l elbemu.Listener) bool { return l.Tags[elb.TagPodUID] != p.UID }),
		slices.DeleteFunc(s.TargetGroups, func(g elbemu.TargetGroup) bool { return g.Tags[elb.TagPodUID] != p.UID }),
	}
	if len(b.Listeners) == 0 || len(b.TargetGroups) == 0 {
		t.Fatalf("pod %s has no binding: %+v", p.Name, b)
	}
	return b
}

// waitForEvent waits for the allocator's event on a pod, which may be gone already.
func waitForEvent(r *rig.Rig, p *rig.Pod, reason string) error {
	ctx := context.Background()
	return rig.Eventually(ctx, "event "+reason+" on pod "+p.Name, func() error {
		events, err := r.Admin.CoreV1().Events(r.Games).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason + ",involvedObject.uid=" + p.UID})
		if err == nil && len(events.Items) == 0 {
			err = fmt.Errorf("there is none yet")
		}
		return err
	})
}

// TestPortIsReclaimedOnlyWhenItsPodIsGoneAndItsClaimExpired checks S4. A crashed
// agent's port stays while its pod exists, however long its claim has been expired. A
// deleted pod's port stays until its claim expires.
func TestPortIsReclaimedOnlyWhenItsPodIsGoneAndItsClaimExpired(t *testing.T) {
	r := start(t, rig.Config{ClaimDuration: 4 * time.Second})
	ctx := t.Context()
	silent := newPod(t, r, "silent", "game=7777/UDP")
	must(t, silent.WaitBound(ctx))
	must(t, silent.Pause())

	// The first condition alone: the claim expires and the pod lives.
	must(t, waitForEvent(r, silent, "PortClaimNotRenewed"))
	port, err := silent.PortOf(ctx)
	must(t, err)
	if port.Value.State != ledger.Bound {
		t.Errorf("the port of a live pod is %s", port.Value.State)
	}
	check(t, r)
	must(t, silent.Resume())

	// The second condition alone: the pod is gone, and the claim was renewed a moment
	// ago.
	port, err = silent.PortOf(ctx)
	must(t, err)
	must(t, rig.Eventually(ctx, "a renewal after the pause", func() error {
		claim, err := silent.Claim(ctx)
		if err == nil && time.Since(claim.Value.RenewedAt) > time.Second {
			err = fmt.Errorf("it was last renewed at %v", claim.Value.RenewedAt)
		}
		return err
	}))
	must(t, silent.Crash(ctx))
	crashed := time.Now()
	must(t, rig.Eventually(ctx, "the port to be released", func() error {
		now, err := r.Port(ctx, port.Name)
		if err == nil && now.Value.State == ledger.Bound {
			err = fmt.Errorf("it is still bound")
		}
		return err
	}))
	// The last renewal was at most a renewal interval before the crash.
	if waited := time.Since(crashed); waited < r.ClaimDuration-2*time.Second {
		t.Errorf("the port was reclaimed %v after the crash, with a claim of %v", waited, r.ClaimDuration)
	}
	check(t, r)
}

// TestReusedPodIPReleasesTheCrashedPodsPort checks S6. A new pod has the IP of a
// crashed one, which proves that the crashed pod is gone. So its port is released
// without waiting for its claim to expire.
func TestReusedPodIPReleasesTheCrashedPodsPort(t *testing.T) {
	r := start(t, rig.Config{ClaimDuration: 30 * time.Second, RenewEvery: time.Second})
	ctx := t.Context()
	crashed := newPod(t, r, "crashed", "game=7777/UDP")
	must(t, crashed.WaitBound(ctx))
	must(t, crashed.Crash(ctx))
	heir, err := r.NewPodAt(ctx, "heir", "game=7777/UDP", crashed.IP)
	must(t, err)
	began := time.Now()
	must(t, heir.Start(), heir.WaitBound(ctx))
	check(t, r)
	must(t, rig.Eventually(ctx, "the crashed pod's binding to be gone", func() error { return r.CheckGone(ctx, crashed) }))
	if took := time.Since(began); took > r.ClaimDuration-5*time.Second {
		t.Errorf("it took %v, as long as if the address had not been observed", took)
	}
	check(t, r)
}

// TestLongPodNamesGetDistinctTargetGroups guards against the truncated target-group
// names of the old operator. Two pods whose names share their first 40 characters get
// two target groups.
func TestLongPodNamesGetDistinctTargetGroups(t *testing.T) {
	r := start(t, rig.Config{})
	ctx := t.Context()
	const shared = "a-game-server-with-a-name-of-forty-chars"
	var pods []*rig.Pod
	names := make(map[string]bool)
	for _, suffix := range []string{"-and-0", "-and-1"} {
		pods = append(pods, newPod(t, r, shared+suffix, "game=7777/UDP"))
	}
	for _, p := range pods {
		must(t, p.WaitBound(ctx))
		group := bindingOf(t, r, p).TargetGroups[0]
		names[group.Name] = true
		if len(group.Targets) != 1 || group.Targets[0].ID != p.IP {
			t.Errorf("the target group of %s has targets %+v", p.Name, group.Targets)
		}
	}
	if len(shared) != 40 || len(names) != 2 {
		t.Errorf("%d characters shared, target groups %v", len(shared), names)
	}
	check(t, r)
}

// TestForeignListenerIsLeftAlone creates a foreign listener behind the allocator's
// back. The agents find it: three pods are bound on the other ports and the fourth
// waits. The foreign listener stays.
func TestForeignListenerIsLeftAlone(t *testing.T) {
	r := start(t, rig.Config{ListenerPorts: "30000-30001", LoadBalancers: 2, AuditEvery: time.Hour})
	ctx := t.Context()
	must(t, r.ForeignListener(ctx, 30001))
	var pods []*rig.Pod
	for n := range 4 {
		pods = append(pods, newPod(t, r, fmt.Sprintf("game-%d", n), "game=7777/UDP"))
	}
	must(t, rig.Eventually(ctx, "three pods to be bound and one to wait", func() error {
		check(t, r)
		bound, waiting := 0, 0
		for _, p := range pods {
			if _, err := p.Endpoint(); err == nil {
				bound++
			} else if log, err := p.Log(); err == nil && strings.Contains(log, "exhausted") {
				waiting++
			}
		}
		if bound != 3 || waiting != 1 {
			return fmt.Errorf("%d are bound and %d wait", bound, waiting)
		}
		return nil
	}))
	for _, p := range pods {
		if endpoint, err := p.Endpoint(); err == nil {
			if port, err := p.PortOf(ctx); err != nil || port.Value.ListenerPort == 30001 && port.Value.LoadBalancerARN == r.LoadBalancerARNs[0] {
				t.Errorf("%s is announced on the foreign port: %v %v", endpoint, port, err)
			}
		}
	}
}
