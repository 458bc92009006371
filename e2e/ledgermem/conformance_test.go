package ledgermem_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// tables are the ledger as two replicas have it.
type tables struct {
	claims  [2]ledger.Claims
	ports   [2]ledger.Ports
	cordons [2]ledger.Cordons
	budgets [2]ledger.Budgets
	// damage makes a record unreadable.
	damage func(name string)
}

// TestLedgerInMemoryBehavesLikeLeases runs one table of cases against this package
// and against the Leases of a real API server.
func TestLedgerInMemoryBehavesLikeLeases(t *testing.T) {
	kube, err := kubeapi.Start(t.Context(), kubeapi.Config{Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kube.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range conformance {
		t.Run(c.name+"/in memory", func(t *testing.T) { inMemory(t, c.run) })
		t.Run(c.name+"/real", func(t *testing.T) { onLeases(t, kube, c.run) })
	}
}

// onLeases runs a case on the Leases of a fresh namespace.
func onLeases(t *testing.T, kube *kubeapi.API, run func(*testing.T, tables)) {
	t.Helper()
	namespace, err := kube.Namespace(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(kube.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	var both tables
	for i := range both.claims {
		leases := kubelease.Open(t.Context(), client, namespace, slog.New(slog.DiscardHandler), kubelease.Hooks{})
		if err := leases.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		both.claims[i], both.ports[i] = leases.Claims(), leases.Ports()
		both.cordons[i], both.budgets[i] = leases.Cordons(), leases.Budgets()
	}
	both.damage = func(name string) {
		patch := []byte(`{"metadata":{"annotations":null}}`)
		if _, err := client.CoordinationV1().Leases(namespace).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, both)
}

// inMemory runs a case in a bubble, with caches that hear late.
func inMemory(t *testing.T, run func(*testing.T, tables)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 1))
		lag := func() time.Duration { return time.Duration(random.IntN(500)) * time.Millisecond }
		l := ledgermem.New()
		both := tables{damage: l.Ports.Damage}
		var deliver []func(time.Time)
		for i := range both.claims {
			claims, ports := ledgermem.NewClaimTable(l.Claims, ledgermem.Direct, lag), ledgermem.NewTable(l.Ports, ledgermem.Direct, lag)
			cordons, budgets := ledgermem.NewTable(l.Cordons, ledgermem.Direct, lag), ledgermem.NewTable(l.Budgets, ledgermem.Direct, lag)
			both.claims[i], both.ports[i], both.cordons[i], both.budgets[i] = claims, ports, cordons, budgets
			deliver = append(deliver, claims.Deliver, ports.Deliver, cordons.Deliver, budgets.Deliver)
		}
		go func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-t.Context().Done():
					return
				case now := <-tick.C:
					for _, d := range deliver {
						d(now)
					}
				}
			}
		}()
		run(t, both)
	})
}

// aPort and aClaim have every field set, with more precision than is kept.
func aPort() ledger.Port {
	return ledger.Port{
		LoadBalancerARN: "arn:lb", ListenerPort: 30000, State: ledger.Releasing, Holder: "claim-u1", Epoch: "e1", Generation: 7,
		Namespace: "games", Pod: "game-0", PodUID: "u1", TargetGroupARN: "arn:tg", ListenerARN: "arn:l", Agent: ledger.AgentDone,
		UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC),
	}
}

func aClaim(ip string) ledger.Claim {
	return ledger.Claim{
		Namespace: "games", Pod: "game-0", PodUID: "u1", PodIP: ip, Pool: "default", State: ledger.Granted,
		Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, HealthPort: 9901,
		LoadBalancer: api.LoadBalancer{ARN: "arn:lb", Host: "host", VPC: "vpc"},
		Ports:        []ledger.PlannedPort{{ListenerPort: 30000, Fence: api.Fence{Lease: "lb-30000", Epoch: "e1", Generation: 7}, HealthCheck: api.HealthCheck{Protocol: "TCP", IntervalSeconds: 10}}},
		Duration:     90 * time.Second, RenewedAt: time.Date(2026, 1, 2, 3, 4, 5, 987654321, time.UTC),
	}
}

// created creates a port lease.
func created(t *testing.T, on ledger.Ports, name string) ledger.Record[ledger.Port] {
	t.Helper()
	r, err := on.Create(t.Context(), name, aPort())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func changed(r ledger.Record[ledger.Port]) ledger.Record[ledger.Port] {
	r.Value.UpdatedAt = r.Value.UpdatedAt.Add(time.Second)
	return r
}

func expect(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// eventually polls, because a cache may be stale for any time.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Errorf("never: %s", what)
			return
		case <-poll.C:
		}
	}
}

func versionIn(cached []*ledger.Record[ledger.Port], name string) string {
	i := slices.IndexFunc(cached, func(r *ledger.Record[ledger.Port]) bool { return r.Name == name })
	if i < 0 {
		return ""
	}
	return cached[i].Version
}

func sameClaim(a, b ledger.Claim) bool {
	sameTime := a.RenewedAt.Equal(b.RenewedAt)
	a.RenewedAt = b.RenewedAt
	return sameTime && reflect.DeepEqual(a, b)
}

func deleteOf(on ledger.Ports, r ledger.Record[ledger.Port]) error {
	return on.Delete(context.Background(), r)
}
