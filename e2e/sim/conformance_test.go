package sim

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

	"k8s.io/client-go/kubernetes"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/shared/api"
)

// tables are the ledger as two replicas have it.
type tables struct {
	claims    [2]ledger.Claims
	ports     [2]ledger.Ports
	balancers [2]ledger.Cordons
	budgets   [2]ledger.Budgets
}

// TestTheLedgerInMemoryIsAsTheRealOne runs one table of cases against the ledger
// of the simulation and against Leases on a real API server.
func TestTheLedgerInMemoryIsAsTheRealOne(t *testing.T) {
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
	name, err := kube.Namespace(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(kube.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	var both tables
	for i := range both.claims {
		leases, err := kubelease.Open(t.Context(), client, name, slog.New(slog.DiscardHandler), func() {})
		if err != nil {
			t.Fatal(err)
		}
		if err := leases.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		both.claims[i], both.ports[i] = leases.Claims(), leases.Ports()
		both.balancers[i], both.budgets[i] = leases.Cordons(), leases.Budgets()
	}
	run(t, both)
}

// inMemory runs a case in a bubble, with the scheduler at work beside it.
func inMemory(t *testing.T, run func(*testing.T, tables)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		calm := newFaults(r, nil)
		calm.on = false
		s := newScheduler(1, calm, newTrace())
		var written revisions
		claims, ports := newStore(&written, storedClaim), newStore(&written, storedPort)
		balancers, budgets := newStore(&written, storedBalancer), newStore(&written, storedBudget)
		var both tables
		var deliver []func(time.Time)
		for i := range both.claims {
			p := newProcess(s, []string{"a", "b"}[i])
			lag := func() time.Duration { return time.Duration(r.IntN(500)) * time.Millisecond }
			c, q := newTable(p, claims, lag), newTable(p, ports, lag)
			b, m := newTable(p, balancers, lag), newTable(p, budgets, lag)
			both.claims[i], both.ports[i], both.balancers[i], both.budgets[i] = claimTable{c}, q, b, m
			deliver = append(deliver, c.deliver, q.deliver, b.deliver, m.deliver)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			run(t, both)
		}()
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, d := range deliver {
				d(time.Now())
			}
			s.after(10*time.Millisecond, func() {})
			s.step()
		}
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
		Wanted: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, HealthPort: 9901,
		LoadBalancer: api.LoadBalancer{ARN: "arn:lb", Host: "host", VPC: "vpc"},
		Ports:        []ledger.PlannedPort{{ListenerPort: 30000, Fence: api.Fence{Lease: "lb-30000", Epoch: "e1", Generation: 7}, HealthCheck: api.HealthCheck{Protocol: "TCP", IntervalSeconds: 10}}},
		Duration:     90 * time.Second, RenewedAt: time.Date(2026, 1, 2, 3, 4, 5, 987654321, time.UTC),
	}
}

// made is a port lease that was just made.
func made(t *testing.T, on ledger.Ports, name string) ledger.Record[ledger.Port] {
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

// eventually polls, because how late a view is nobody promises.
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

func versionIn(view []ledger.Record[ledger.Port], name string) string {
	i := slices.IndexFunc(view, func(r ledger.Record[ledger.Port]) bool { return r.Name == name })
	if i < 0 {
		return ""
	}
	return view[i].Version
}

func sameClaim(a, b ledger.Claim) bool {
	sameTime := a.RenewedAt.Equal(b.RenewedAt)
	a.RenewedAt = b.RenewedAt
	return sameTime && reflect.DeepEqual(a, b)
}

func deleteOf(on ledger.Ports, r ledger.Record[ledger.Port]) error {
	return on.Delete(context.Background(), r)
}
