package rig_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// TestPodsCannotHarmOthers gives false or another pod's data to the allocator, with a
// pod's own valid token. Nothing changes: the allocator relies only on its own reads.
func TestPodsCannotHarmOthers(t *testing.T) {
	r := start(t, rig.Config{RenewEvery: 15 * time.Second, ClaimDuration: 45 * time.Second})
	ctx := t.Context()
	victim := newPod(t, r, "victim", "game=7777/UDP")
	must(t, victim.WaitBound(ctx))
	attacker := newPod(t, r, "attacker", "game=7777/UDP")
	must(t, attacker.WaitBound(ctx))
	// Nothing is left to be recorded of their targets' health.
	must(t, victim.WaitReady(ctx), attacker.WaitReady(ctx))
	token, err := r.Token(ctx, attacker.Name)
	must(t, err)
	theirs, err := victim.PortOf(ctx)
	must(t, err)
	own, err := attacker.PortOf(ctx)
	must(t, err)
	victimClaim, err := victim.Claim(ctx)
	must(t, err)
	ownClaim, err := attacker.Claim(ctx)
	must(t, err)

	fence := func(p rig.PortRecord) api.Fence {
		return api.Fence{Lease: p.Name, Epoch: p.Value.Epoch, Generation: p.Value.Generation}
	}
	next := fence(own)
	next.Generation++
	for _, c := range []struct {
		name, path string
		body       any
		status     int
		code       api.Code
	}{
		{"another's fence for a target group", api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: ownClaim.UID, Fence: fence(theirs), TargetGroupARN: theirs.Value.TargetGroupARN}, 410, api.Lost},
		{"another's claim for a target group", api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: victimClaim.UID, Fence: fence(own), TargetGroupARN: own.Value.TargetGroupARN}, 410, api.Lost},
		{"another's target group for the own fence", api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: ownClaim.UID, Fence: fence(own), TargetGroupARN: theirs.Value.TargetGroupARN}, 422, api.Invalid},
		{"a later generation", api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: ownClaim.UID, Fence: next, TargetGroupARN: own.Value.TargetGroupARN}, 410, api.Lost},
		{"an ARN that only looks right", api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: ownClaim.UID, Fence: fence(own), TargetGroupARN: "no " + own.Value.TargetGroupARN}, 422, api.Invalid},
		{"an ARN without an id", api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: ownClaim.UID, Fence: fence(own), TargetGroupARN: own.Value.TargetGroupARN + "x"}, 422, api.Invalid},
		{"another's fence for a listener", api.CallBound, api.BoundRequest{ClaimUID: ownClaim.UID, Fence: fence(theirs), ListenerARN: theirs.Value.ListenerARN}, 410, api.Lost},
		{"a later generation for a listener", api.CallBound, api.BoundRequest{ClaimUID: ownClaim.UID, Fence: next, ListenerARN: own.Value.ListenerARN}, 410, api.Lost},
		{"a listener that is none", api.CallBound, api.BoundRequest{ClaimUID: ownClaim.UID, Fence: fence(own), ListenerARN: "arn:aws:s3:::bucket"}, 422, api.Invalid},
		{"another's claim to renew", api.CallRenew, api.RenewRequest{ClaimUID: victimClaim.UID, PodIP: attacker.IP, Pool: "default"}, 410, api.Lost},
		{"another's claim to release", api.CallRelease, api.ReleaseRequest{ClaimUID: victimClaim.UID}, 410, api.Lost},
		{"another's fence in a collision", api.CallCollision, api.CollisionRequest{ClaimUID: ownClaim.UID, Fence: fence(theirs)}, 410, api.Lost},
		// There is no foreign listener, so nothing changes.
		{"a false collision", api.CallCollision, api.CollisionRequest{ClaimUID: ownClaim.UID, Fence: fence(own)}, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := stateOf(t, r)
			body, err := json.Marshal(c.body)
			must(t, err)
			status, text, err := attacker.Call(ctx, r.Replicas[0], http.MethodPost, c.path, token, string(body))
			must(t, err)
			var problem api.Problem
			must(t, json.Unmarshal([]byte(text), &problem))
			if status != c.status || problem.Code != c.code {
				t.Errorf("it was answered %d %s, not %d %s", status, text, c.status, c.code)
			}
			if after := stateOf(t, r); !reflect.DeepEqual(before, after) {
				t.Errorf("it changed something: %+v to %+v", before, after)
			}
		})
	}

	// With its leases deleted, an attacker cannot make the allocator adopt the
	// binding of another pod.
	must(t, attacker.Kill(ctx))
	must(t, r.DeleteLease(ctx, ledger.ClaimName(attacker.UID)), r.DeleteLease(ctx, own.Name))
	forged := api.ClaimedPort{Port: api.Port{Name: "game", TargetPort: 7777, Protocol: api.UDP}, ListenerPort: theirs.Value.ListenerPort,
		Fence: fence(theirs), TargetGroupARN: theirs.Value.TargetGroupARN, ListenerARN: theirs.Value.ListenerARN}
	body, err := json.Marshal(api.RenewRequest{ClaimUID: "u", PodIP: attacker.IP, Pool: "default", Ports: []api.ClaimedPort{forged}})
	must(t, err)
	status, text, err := attacker.Call(ctx, r.Replicas[0], http.MethodPost, api.CallRenew, token, string(body))
	must(t, err)
	if status != http.StatusGone {
		t.Errorf("adopting another's binding was answered %d %s", status, text)
	}
	if port, err := victim.PortOf(ctx); err != nil || fmt.Sprint(fence(port)) != fmt.Sprint(fence(theirs)) {
		t.Errorf("the victim has %+v %v", port, err)
	}
	check(t, r)
	// The attacker gets another port. Its previous binding is an orphan, although its
	// pod is alive.
	must(t, attacker.Start(), attacker.WaitBound(ctx))
	must(t, rig.Eventually(ctx, "its previous binding to be deleted", func() error { return r.CheckAtRest(ctx) }), waitForEvent(r, attacker, "OrphanDeleted"))
	check(t, r)
}
