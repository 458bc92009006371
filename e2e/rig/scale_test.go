package rig_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// TestRequestsDoNotGrowWithTheLedger starts an allocator on a ledger of 300 held
// ports and on one of 3,000, and a pod claims the only free port. Both need the same
// number of API requests, which take most of the time. The allocator reads the ledger
// once and decides in memory. Times are logged but not checked.
func TestRequestsDoNotGrowWithTheLedger(t *testing.T) {
	small, large := scale(t, 6), scale(t, 60)
	if !maps.Equal(small.start, large.start) {
		t.Errorf("starting on 300 ports took %v, on 3,000 %v", small.start, large.start)
	}
	if !maps.Equal(small.claim, large.claim) {
		t.Errorf("claiming the last of 300 ports took %v, of 3,000 %v", small.claim, large.claim)
	}
	t.Logf("requests to start: %v; to claim the last free port: %v; with 300 and with 3,000 ports", large.start, large.claim)
	t.Logf("start to ready: %v with 300, %v with 3,000; the claim: %v and %v", small.ready, large.ready, small.granted, large.granted)
}

type cost struct {
	// start and claim map "verb resource" to the number of requests.
	start, claim   map[string]int
	ready, granted time.Duration
}

func scale(t *testing.T, loadBalancers int) (c cost) {
	const perLoadBalancer = 50
	r := start(t, rig.Config{
		LoadBalancers: loadBalancers, Alone: true, ListenerPorts: "30000-30049", ClaimDuration: time.Hour, RenewEvery: time.Minute,
		Emulator: func(c *elbemu.Config) { c.Quotas.LoadBalancers = loadBalancers },
	})
	ctx := t.Context()
	must(t, r.Replicas[0].Stop(ctx))
	t.Cleanup(func() { // no agent would release these claims
		if err := r.Admin.CoordinationV1().Leases(r.Namespace).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
	})
	fast := kube.AdminConfig()
	fast.QPS, fast.Burst = 2000, 2000
	client, err := kubernetes.NewForConfig(fast)
	must(t, err)
	leases := kubelease.Open(ctx, client, r.Namespace, slog.New(slog.DiscardHandler), kubelease.Hooks{})
	must(t, leases.WaitReady(ctx))
	group, fillCtx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for n, arn := range r.LoadBalancerARNs {
		for i := range perLoadBalancer {
			if n == 0 && i == 0 {
				continue // this port stays free
			}
			group.Go(func() error { return hold(fillCtx, leases, arn, 30000+i) })
		}
	}
	must(t, group.Wait())

	before := requests(t, r)
	begun := time.Now()
	must(t, r.Replicas[0].Start(ctx))
	must(t, r.Replicas[0].WaitReady(ctx))
	c.ready = time.Since(begun)
	c.start = since(t, r, before, "watch leases")

	eachReplica(t, r, "every load balancer in use", func(v api.PoolView) bool { return v.Ports["total"] == loadBalancers*perLoadBalancer })
	p, err := r.NewPod(ctx, "game-0", "game=7777/UDP")
	must(t, err)
	token, err := r.Token(ctx, p.Name)
	must(t, err)
	before = requests(t, r)
	begun = time.Now()
	claim, problem, status := put(t, p, r.Replicas[0], token, request(p, onePort))
	c.granted = time.Since(begun)
	if status != http.StatusCreated || claim.LoadBalancer.ARN != r.LoadBalancerARNs[0] || claim.Ports[0].ListenerPort != 30000 {
		t.Fatalf("the last free port: %d %+v %+v", status, claim, problem)
	}
	c.claim = since(t, r, before, "create leases")
	if c.claim["update leases"] == 0 {
		t.Errorf("a claim took %v", c.claim)
	}
	return c
}

// hold writes a claim and its only port into the ledger.
func hold(ctx context.Context, leases *kubelease.Leases, arn string, port int) error {
	lease := ledger.PortName(ledger.LoadBalancerID(arn), port)
	uid := "held-" + lease
	f := api.Fence{Lease: lease, Epoch: "e", Generation: 1}
	if _, err := leases.Claims().Create(ctx, ledger.ClaimName(uid), ledger.Claim{
		Namespace: "games", Pod: uid, PodUID: uid, PodIP: "10.0.0.1", Pool: "default", State: ledger.Granted, Duration: time.Hour,
		Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, LoadBalancer: api.LoadBalancer{ARN: arn},
		Ports: []ledger.PlannedPort{{ListenerPort: port, Fence: f}}, RenewedAt: time.Now(),
	}); err != nil {
		return fmt.Errorf("filling the ledger: %w", err)
	}
	if _, err := leases.Ports().Create(ctx, lease, ledger.Port{
		LoadBalancerARN: arn, ListenerPort: port, State: ledger.Claimed, Holder: ledger.ClaimName(uid), Epoch: f.Epoch, Generation: 1,
		Namespace: "games", Pod: uid, PodUID: uid, UpdatedAt: time.Now(),
	}); err != nil {
		return fmt.Errorf("filling the ledger: %w", err)
	}
	return nil
}

// requests counts the allocator's requests to the API server. It leaves out periodic
// ones: leader election, readiness, AWS budget, the Lease portlease-held, and
// certificates, which are in Secrets and ConfigMaps.
func requests(t *testing.T, r *rig.Rig) map[string]int {
	t.Helper()
	entries, err := kube.AuditEntries()
	must(t, err)
	n := make(map[string]int)
	for _, e := range entries {
		byClock := e.Name == kubelease.LeaderLease || e.Name == ledger.BudgetName || e.Name == kubelease.HeldLease || e.Resource == "configmaps" || e.Resource == "secrets"
		if e.User == "system:serviceaccount:"+r.Namespace+":portlease-allocator" && !byClock {
			n[e.Verb+" "+e.Resource]++
		}
	}
	return n
}

// since waits until the audit log has the request until, and gives the requests since
// before.
func since(t *testing.T, r *rig.Rig, before map[string]int, until string) map[string]int {
	t.Helper()
	var more map[string]int
	must(t, rig.Eventually(t.Context(), "the audit log", func() error {
		more = make(map[string]int)
		for what, n := range requests(t, r) {
			if n > before[what] {
				more[what] = n - before[what]
			}
		}
		if more[until] == 0 {
			return fmt.Errorf("it has %v", more)
		}
		return nil
	}))
	return more
}
