package claim_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// overQuota expects a refusal that says why and when to ask again.
func (w *world) overQuota(err error, why string) {
	w.Helper()
	problem, ok := errors.AsType[*api.Problem](err)
	if !ok || problem.Code != api.Quota || !strings.Contains(problem.Detail, why) || problem.RetryAfter < time.Second {
		w.Errorf("got %v, want quota: %s", err, why)
	}
}

func TestPodOverItsQuotaIsRefused(t *testing.T) {
	w := newWorld(t, 4)
	w.cloud.terms.Quota.PerPod = 2
	if _, err := w.claim("a", "10.0.0.1", "one", "two"); err != nil {
		t.Error(err)
	}
	_, err := w.claim("b", "10.0.0.2", "one", "two", "three")
	w.overQuota(err, "asks for 3 ports, and pool default allows 2")
	if claims := w.ledger.Claims.List(); len(claims) != 1 {
		t.Errorf("%d claims are in the ledger", len(claims))
	}
	w.cloud.terms.Quota.PerPod = 1
	if _, err := w.claim("a", "10.0.0.1", "one", "two"); err != nil {
		t.Errorf("a claim that is older than the quota: %v", err)
	}
}

// TestNamespaceOverItsQuotaIsRefused until another pod's ports are unbound. Neither a
// claim of another pool nor one of another namespace counts.
func TestNamespaceOverItsQuotaIsRefused(t *testing.T) {
	w := newWorld(t, 8)
	w.cloud.terms.Quota.PerNamespace = 3
	w.ledger.Claims.Recreate("claim-other", ledger.Claim{Namespace: "other", Pod: "o", Pool: "default", State: ledger.Granted, Requested: make([]api.Port, 3), Planned: true})
	w.ledger.Claims.Recreate("claim-pool", ledger.Claim{Namespace: "games", Pod: "p", Pool: "other", State: ledger.Granted, Requested: make([]api.Port, 3), Planned: true})
	held := w.bind("a", "10.0.0.1", "one", "two")
	_, err := w.claim("b", "10.0.0.2", "one", "two")
	w.overQuota(err, "namespace games has 2 of its 3 ports of pool default, and the pod asks for 2")
	if _, err := w.claim("c", "10.0.0.3"); err != nil {
		t.Error(err)
	}
	if _, err := w.claim("a", "10.0.0.1", "one", "two"); err != nil {
		t.Errorf("it has its ports already: %v", err)
	}
	if _, err := w.service.Release(t.Context(), holderOf("a"), api.ReleaseRequest{ClaimUID: held.UID}); err != nil {
		t.Fatal(err)
	}
	_, err = w.claim("b", "10.0.0.2", "one", "two")
	w.overQuota(err, "wait until the ports of stopping pods are unbound")
	w.ledger.Claims.Remove(ledger.ClaimName("uid-a"))
	if _, err := w.claim("b", "10.0.0.2", "one", "two"); err != nil {
		t.Error(err)
	}
	for _, r := range w.ledger.Claims.List() {
		if r.Value.Pod == "b" && (r.Value.State != ledger.Granted || !r.Value.Admitted) {
			t.Errorf("the claim is %+v", r.Value)
		}
	}
}

// TestQuotaHoldsWhateverTheCacheShows: two replicas work on claims of one namespace at
// once, and neither cache shows the other's claim.
func TestQuotaHoldsWhateverTheCacheShows(t *testing.T) {
	w := newWorld(t, 4)
	w.cloud.terms.Quota.PerNamespace = 1
	other := claim.New(w.service.Config)
	var second error
	w.service.Claims = &overtaken{ClaimTable: w.claims, by: func() {
		_, second = w.claimFrom(other, "b", "10.0.0.2")
		w.claims.Hide(ledger.ClaimName("uid-b"))
	}}
	_, first := w.claim("a", "10.0.0.1")
	if second != nil {
		t.Errorf("the first of the two: %v", second)
	}
	if first == nil {
		t.Error("both were granted a port")
	}
	w.claims.Hide(ledger.ClaimName("uid-b"))
	_, err := w.claim("a", "10.0.0.1")
	w.overQuota(err, "has 1 of its 1 ports")
	if claims := w.ledger.Claims.List(); len(claims) != 1 {
		t.Errorf("a refused claim stays: %+v", claims)
	}
}

// TestUndecidedClaimsDoNotBlockEachOther: their leases were created before any was
// checked.
func TestUndecidedClaimsDoNotBlockEachOther(t *testing.T) {
	w := newWorld(t, 8)
	w.cloud.terms.Quota.PerNamespace = 2
	const pods = 5
	for n := range pods {
		h := holderOf(fmt.Sprint("p", n))
		w.ledger.Claims.Recreate(ledger.ClaimName(h.UID), ledger.Claim{
			Namespace: "games", Pod: h.Pod, PodUID: h.UID, PodIP: fmt.Sprint("10.0.0.", n), Pool: "default", State: ledger.Waiting,
			Requested: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}},
		})
	}
	granted := make(map[int]bool)
	for range 3 {
		for n := range pods {
			if _, err := w.claim(fmt.Sprint("p", n), fmt.Sprint("10.0.0.", n)); err == nil {
				granted[n] = true
			}
		}
		if len(granted) > 2 {
			t.Fatalf("%v were granted ports", granted)
		}
	}
	if !granted[0] || !granted[1] {
		t.Errorf("%v were granted ports, want the two oldest", granted)
	}
}

func TestAdoptionOverTheQuotaIsRefused(t *testing.T) {
	for name, quota := range map[string]pool.Quota{"of the pod": {PerPod: 1}, "of the namespace": {PerNamespace: 2}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4)
			var ports []api.ClaimedPort
			for n := range 2 {
				f := api.Fence{Lease: ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort+n), Epoch: "e", Generation: 1}
				p := w.selfMade("a", f)
				p.Name, p.TargetPort = fmt.Sprint("game-", n), 7777+n
				ports = append(ports, p)
			}
			if _, err := w.claim("b", "10.0.0.2"); err != nil {
				t.Fatal(err)
			}
			w.cloud.terms.Quota = quota
			presented := api.Claim{UID: "none", Pod: "a", PodIP: "10.0.0.1", Pool: "default", Ports: ports}
			_, err := w.renew(presented)
			w.refused(err, api.Lost)
			if claims := w.ledger.Claims.List(); len(claims) != 1 {
				t.Errorf("a refused claim stays: %+v", claims)
			}
			w.cloud.terms.Quota = pool.Quota{PerPod: 2, PerNamespace: 3}
			if _, err := w.renew(presented); err != nil {
				t.Error(err)
			}
		})
	}
}
