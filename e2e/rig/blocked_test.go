package rig_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// TestForeignListenerBlocksItsPort creates a foreign listener on a port of the pool:
// every replica shows the port as blocked and grants it to no pod. When the listener
// is gone, the port is granted again.
func TestForeignListenerBlocksItsPort(t *testing.T) {
	t.Parallel()
	t.Run("untagged", func(t *testing.T) { foreignListenerBlocks(t, (*rig.Rig).ForeignListener) })
	t.Run("another cluster's", func(t *testing.T) { foreignListenerBlocks(t, (*rig.Rig).ListenerOfAnotherLedger) })
}

func foreignListenerBlocks(t *testing.T, listen func(*rig.Rig, context.Context, int) error) {
	t.Helper()
	r := start(t, rig.Config{Replicas: 2, ListenerPorts: "30000-30001"})
	ctx := t.Context()
	must(t, listen(r, ctx, 30000))
	lease := ledger.PortName(ledger.LoadBalancerID(r.LoadBalancerARNs[0]), 30000)
	must(t, rig.Eventually(ctx, "the port to be blocked", func() error {
		port, err := r.Port(ctx, lease)
		if err == nil && (port.Value.State != ledger.Blocked || port.Value.Foreign == "" || port.Value.Holder != "") {
			err = fmt.Errorf("it is %+v", port.Value)
		}
		return err
	}))
	one := newPod(t, r, "game-0", "game=7777/TCP")
	must(t, one.WaitBound(ctx))
	if port, err := one.PortOf(ctx); err != nil || port.Value.ListenerPort != 30001 {
		t.Errorf("it got %+v, %v", port, err)
	}
	two := newPod(t, r, "game-1", "game=7777/TCP")
	must(t, rig.Eventually(ctx, "the second pod to be told that there is none", func() error {
		text, err := two.Log()
		if err == nil && !strings.Contains(text, "exhausted") {
			err = errors.New("it has not been told yet")
		}
		return err
	}))
	check(t, r)
	must(t, r.RemoveForeignListener(ctx, 30000))
	must(t, two.WaitBound(ctx))
	port, err := two.PortOf(ctx)
	must(t, err)
	if port.Name != lease || port.Value.Generation != 1 || port.Value.Foreign != "" || port.Value.Epoch == "" {
		t.Errorf("it got %+v", port)
	}
	check(t, r)
}

// TestCollisionIsKnownToEveryReplica makes one replica find a foreign listener on a
// port that was just granted. No other replica grants that port, although none has
// listed the load balancer since.
func TestCollisionIsKnownToEveryReplica(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 3, ListenerPorts: "30000", AuditEvery: time.Hour})
	ctx := t.Context()
	p, err := r.NewPod(ctx, "game-0", "game=7777/UDP")
	must(t, err)
	token, err := r.Token(ctx, p.Name)
	must(t, err)
	c, problem, _ := put(t, p, r.Replicas[0], token, request(p, onePort))
	if len(c.Ports) != 1 {
		t.Fatalf("it was granted %+v, %+v", c, problem)
	}
	must(t, r.ForeignListener(ctx, 30000))
	body, err := json.Marshal(api.CollisionRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence})
	must(t, err)
	status, text, err := p.Call(ctx, r.Replicas[1], http.MethodPost, api.CallCollision, token, string(body))
	if err != nil || !strings.Contains(text, string(api.Exhausted)) {
		t.Fatalf("the conflict was answered %d %s, %v", status, text, err)
	}
	for _, a := range r.Replicas {
		if c, problem, _ := put(t, p, a, token, request(p, onePort)); problem.Code != api.Exhausted {
			t.Errorf("%s: %+v, %+v", a.Name(), c, problem)
		}
	}
	check(t, r)
}

// TestAdminsBlockAPort blocks a free port and a held one: no pod gets either, and the
// holder keeps its port until it ends. Unblocking makes both available again.
func TestAdminsBlockAPort(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{ListenerPorts: "30000-30001"})
	ctx := t.Context()
	id := ledger.LoadBalancerID(r.LoadBalancerARNs[0])
	holder := newPod(t, r, "game-0", "game=7777/UDP")
	must(t, holder.WaitBound(ctx))
	held, err := holder.PortOf(ctx)
	must(t, err)
	free := 30000 + 30001 - held.Value.ListenerPort
	for _, port := range []int{30000, 30001} {
		if status, text := adminCall(t, r, api.PortPath(id, port)+api.CallBlock, "flood"); status != http.StatusOK || !strings.Contains(text, "flood") {
			t.Fatalf("block %d: %d %s", port, status, text)
		}
	}
	state := func(port int, want ledger.PortState, closed bool) {
		t.Helper()
		must(t, rig.Eventually(ctx, fmt.Sprintf("port %d to be %s", port, want), func() error {
			p, err := r.Port(ctx, ledger.PortName(id, port))
			if err == nil && (p.Value.State != want || (p.Value.BlockedBy != "") != closed) {
				err = fmt.Errorf("it is %+v", p.Value)
			}
			return err
		}))
	}
	state(free, ledger.Blocked, true)
	state(held.Value.ListenerPort, ledger.Bound, true)
	if status, text := adminCall(t, r, api.PortPath(id, 29999)+api.CallBlock, "nonsense"); status != http.StatusNotFound {
		t.Errorf("a port of no pool: %d %s", status, text)
	}
	must(t, holder.Terminate(ctx))
	state(held.Value.ListenerPort, ledger.Blocked, true)
	waiting := newPod(t, r, "game-1", "game=7777/UDP")
	must(t, rig.Eventually(ctx, "the next pod to be told that there is none", func() error {
		text, err := waiting.Log()
		if err == nil && !strings.Contains(text, "exhausted") {
			err = errors.New("it has not been told yet")
		}
		return err
	}))
	if status, text := adminCall(t, r, api.PortPath(id, free)+api.CallUnblock, ""); status != http.StatusOK {
		t.Fatalf("unblock: %d %s", status, text)
	}
	must(t, waiting.WaitBound(ctx))
	if port, err := waiting.PortOf(ctx); err != nil || port.Value.ListenerPort != free {
		t.Errorf("it got %+v, %v", port, err)
	}
	adminCall(t, r, api.PortPath(id, held.Value.ListenerPort)+api.CallUnblock, "")
	state(held.Value.ListenerPort, ledger.Free, false)
	check(t, r)
}
