package kubelease_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

func lease(name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// spoil overwrites the annotation of a Lease, as an admin could.
func spoil(t *testing.T, r replica, namespace, name string, text any) (version string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{"portlease.dev/record": text}}})
	must(t, err)
	l, err := r.kube.CoordinationV1().Leases(namespace).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	must(t, err)
	return l.ResourceVersion
}

func TestUnreadableRecordIsNeitherFreeNorAbsent(t *testing.T) {
	namespace := newNamespace(t)
	a := open(t, namespace, nil)
	good, err := a.Ports().Create(t.Context(), "lb-1", freePort(1))
	must(t, err)
	_, err = a.Claims().Create(t.Context(), "claim-1", ledger.Claim{State: ledger.Granted, PodIP: "10.0.0.1", Duration: time.Second})
	must(t, err)
	for _, text := range []any{nil, "", "nonsense", "null", "{}", `{"state":""}`, `{"state":7}`, `[]`, `{"listenerPort":1}`} {
		spoil(t, a, namespace, "lb-1", text)
		spoiled := spoil(t, a, namespace, "claim-1", text)
		port, err := a.Ports().Get(t.Context(), "lb-1")
		if !errors.Is(err, ledger.ErrUnreadable) || port.Value != (ledger.Port{}) {
			t.Errorf("%v: got %+v, %v", text, port, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "lease lb-1") || !strings.Contains(err.Error(), "restore annotation portlease.dev/record")) {
			t.Errorf("%v: the error does not say what to do: %v", text, err)
		}
		if seen, ok := found(a.Ports(), "lb-1"); !ok || seen.Value.State != "" || seen.Version == good.Version {
			t.Errorf("%v: the cache has %+v, %v", text, seen, ok)
		}
		// A record that was read as unreadable cannot overwrite the Lease.
		port.Value.UpdatedAt = time.Now()
		if got, err := a.Ports().Update(t.Context(), port); err == nil {
			t.Errorf("%v: overwritten with %+v", text, got)
		}
		if _, err := a.Claims().Get(t.Context(), "claim-1"); !errors.Is(err, ledger.ErrUnreadable) {
			t.Errorf("%v: got %v", text, err)
		}
		if _, err := a.Claims().OfPodIP(t.Context(), "10.0.0.1", spoiled); !errors.Is(err, ledger.ErrUnreadable) {
			t.Errorf("%v: got %v", text, err)
		}
	}
	spoil(t, a, namespace, "lb-1", `{"state":"free","listenerPort":1,"loadBalancerARN":"arn/lb","epoch":"e"}`)
	if got, err := a.Ports().Get(t.Context(), "lb-1"); err != nil || got.Value != good.Value {
		t.Errorf("restored it reads %+v, %v; want %+v", got.Value, err, good.Value)
	}
}

// twoPorts is a pool of one load balancer with two listener ports.
type twoPorts struct{}

var games = api.LoadBalancer{ARN: "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/games/0123456789abcdef", Host: "games", VPC: "vpc"}

func (twoPorts) Pool(name string) (pool.Pool, bool) {
	return pool.Pool{Name: name, LoadBalancers: []pool.LoadBalancer{{
		LoadBalancer: games, Ranges: []pool.Range{{From: 30000, To: 30001}}, Limit: 50,
	}}, Terms: pool.Terms{Protocols: []api.Protocol{api.TCP}}}, true
}

func (twoPorts) Names() []string { return []string{"default"} }

func (twoPorts) Inspect(context.Context, string) (pool.Inspection, error) {
	return pool.Inspection{}, nil
}

func (twoPorts) Bind(context.Context, ledger.Record[ledger.Claim], []ledger.Port, int) (time.Duration, error) {
	return 0, nil
}

func (twoPorts) ReserveDescribes(_ context.Context, calls int) (int, time.Duration, error) {
	return calls, 0, nil
}

func (twoPorts) TryOpportunistic(context.Context, string, int) (bool, error) { return true, nil }

func (twoPorts) Deregister(context.Context, string, int, int) (bool, error) { return true, nil }

func (twoPorts) Throttled(context.Context, string, int) error { return nil }

func (twoPorts) ListenerOwner(context.Context, string) (pool.Owner, error) { return pool.Owner{}, nil }

// newService answers the claims of pods, which always exist.
func newService(r replica, pools claim.Pools) *claim.Service {
	return claim.New(claim.Config{
		Both:   claim.AtOnce,
		Ledger: "l", Claims: r.Claims(), Ports: r.Ports(), Pools: pools, Budget: twoPorts{},
		Age: func(string, string) time.Duration { return 0 }, Count: func(string, string) {},
		GetPod: func(_ context.Context, _, pod string) (*ledger.Pod, error) {
			return &ledger.Pod{UID: "uid-" + pod, IPs: []string{"10.0.0." + pod}}, nil
		},
		TargetGroupName: func(string, api.Fence) string { return "pl-x" }, Duration: time.Minute, RenewEvery: time.Second, UnbindEvery: func() time.Duration { return time.Second },
		Now: time.Now, NewEpoch: func() string { return "e" }, WakeJanitor: func() {}, Log: slog.New(slog.DiscardHandler),
	})
}

// claimOnePort claims a port for a pod, which is named after the end of its IP.
func claimOnePort(ctx context.Context, service *claim.Service, pod string) (api.Claim, error) {
	c, _, err := service.Claim(ctx, claim.Holder{Namespace: "games", Pod: pod, UID: "uid-" + pod}, api.ClaimRequest{
		PodUID: "uid-" + pod, PodIP: "10.0.0." + pod, Pool: "default", Ports: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.TCP}},
	})
	return c, err
}

// Pods claim both ports of a pool, one of which is unreadable or has lost its label. The
// first pod gets the other port, and the pool is exhausted for the second.
func TestUnreadablePortIsNotGrantedAndBlocksNoOther(t *testing.T) {
	for name, ruin := range map[string]func(t *testing.T, r replica, namespace, lease string){
		"annotation": func(t *testing.T, r replica, namespace, lease string) { spoil(t, r, namespace, lease, "nonsense") },
		"label": func(t *testing.T, r replica, namespace, lease string) {
			_, err := r.kube.CoordinationV1().Leases(namespace).Patch(t.Context(), lease, types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"portlease.dev/kind":null}}}`), metav1.PatchOptions{})
			must(t, err)
			eventually(t, "it is not cached", func() bool { _, ok := found(r.Ports(), lease); return !ok })
		},
	} {
		for _, ruined := range []int{30000, 30001} {
			t.Run(name, func(t *testing.T) {
				namespace := newNamespace(t)
				a := open(t, namespace, nil)
				record := freePort(ruined)
				record.LoadBalancerARN = games.ARN
				lease := ledger.PortName(ledger.LoadBalancerID(games.ARN), ruined)
				_, err := a.Ports().Create(t.Context(), lease, record)
				must(t, err)
				ruin(t, a, namespace, lease)
				service := newService(a, twoPorts{})
				ask := func(pod string) (api.Claim, error) { return claimOnePort(t.Context(), service, pod) }
				if c, err := ask("1"); err != nil || len(c.Ports) != 1 || c.Ports[0].ListenerPort == ruined {
					t.Errorf("the first pod got %+v, %v", c.Ports, err)
				}
				if c, err := ask("2"); !errors.Is(err, api.ErrExhausted) {
					t.Errorf("the second pod got %+v, %v", c.Ports, err)
				}
			})
		}
	}
}
