package rig_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// poolOf gives a replica's view of its only pool.
func poolOf(ctx context.Context, r *rig.Rig, a *rig.Replica) (api.PoolView, error) {
	admin, err := r.AdminToken(ctx)
	if err != nil {
		return api.PoolView{}, err
	}
	text, err := r.Get(ctx, a.URL()+api.PathPools, admin)
	if err != nil {
		return api.PoolView{}, err
	}
	var list api.PoolList
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Pools) != 1 {
		return api.PoolView{}, fmt.Errorf("the pools are %s: %w", text, err)
	}
	return list.Pools[0], nil
}

// eachReplica waits until every replica shows the pool as good requires.
func eachReplica(t *testing.T, r *rig.Rig, what string, good func(api.PoolView) bool) {
	t.Helper()
	for _, a := range r.Replicas {
		must(t, rig.Eventually(t.Context(), a.Name()+" to show "+what, func() error {
			v, err := poolOf(t.Context(), r, a)
			if err == nil && !good(v) {
				err = fmt.Errorf("the pool is %+v", v)
			}
			return err
		}))
	}
}

// adminCall makes an admin call and gives status and body.
func adminCall(t *testing.T, r *rig.Rig, path, reason string) (int, string) {
	t.Helper()
	admin, err := r.AdminToken(t.Context())
	must(t, err)
	body := ""
	if reason != "" {
		body = fmt.Sprintf(`{"reason":%q}`, reason)
	}
	status, text, err := r.Replicas[0].Call(t.Context(), http.MethodPost, path, admin, body)
	must(t, err)
	return status, text
}

func find(v api.PoolView, arn string) (api.LoadBalancerView, bool) {
	i := slices.IndexFunc(v.LoadBalancers, func(lb api.LoadBalancerView) bool { return lb.ARN == arn })
	if i < 0 {
		return api.LoadBalancerView{}, false
	}
	return v.LoadBalancers[i], true
}

// churn starts and ends pods, one after another for each worker, until stop is
// called. ports gives the names of the ports that were granted since its last call.
func churn(t *testing.T, r *rig.Rig, workers int) (stop func(), ports func() []string) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var granted []string
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p, err := r.NewPod(t.Context(), fmt.Sprintf("churn-%d-%d", w, n), "game=7777/UDP")
				if err == nil {
					err = p.Start()
				}
				if err == nil {
					err = p.WaitBound(t.Context())
				}
				if err == nil {
					var port rig.PortRecord
					if port, err = p.PortOf(t.Context()); err == nil {
						mu.Lock()
						granted = append(granted, port.Name)
						mu.Unlock()
						err = p.Terminate(t.Context())
					}
				}
				if err != nil {
					t.Errorf("churning: %v", err)
					return
				}
			}
		})
	}
	stop = func() { cancel(); wait.Wait() }
	t.Cleanup(stop)
	return stop, func() []string {
		mu.Lock()
		defer mu.Unlock()
		now := granted
		granted = nil
		return now
	}
}

// TestPoolFileChangesUnderLoad changes the pool file in every way that an admin may,
// while pods come and go. No pod loses a port, no replica stops, and later claims
// follow each change.
func TestPoolFileChangesUnderLoad(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 3, LoadBalancers: 3, ListenerPorts: "30000-30007"})
	ctx := t.Context()
	arns := r.LoadBalancerARNs
	must(t, r.SetPools(r.PoolText(arns[:2], "")))
	eachReplica(t, r, "two load balancers", func(v api.PoolView) bool { return len(v.LoadBalancers) == 2 })

	held := make(map[*rig.Pod]rig.PortRecord)
	for n := range 4 {
		p := newPod(t, r, fmt.Sprintf("game-%d", n), "game=7777/UDP")
		must(t, p.WaitBound(ctx))
		port, err := p.PortOf(ctx)
		must(t, err)
		held[p] = port
	}
	on := func(arn string) (pods []*rig.Pod) {
		for p, port := range held {
			if port.Value.LoadBalancerARN == arn {
				pods = append(pods, p)
			}
		}
		return pods
	}
	if len(on(arns[0])) == 0 || len(on(arns[1])) == 0 {
		t.Fatalf("the pods are not spread over both load balancers: %+v", held)
	}
	stop, ports := churn(t, r, 3)
	// fresh waits until pods are bound that started after the call, and gives their
	// ports.
	fresh := func() []string {
		t.Helper()
		var names []string
		ports()
		begun := 0
		must(t, rig.Eventually(ctx, "pods to come and go", func() error {
			some := ports()
			// The first pod of each worker may have started before the call.
			if begun += len(some); begun > 2*3 {
				names = append(names, some...)
			}
			if len(names) < 3 {
				return fmt.Errorf("%d so far", len(names))
			}
			return nil
		}))
		return names
	}
	keep := func() {
		t.Helper()
		check(t, r)
		for p, before := range held {
			now, err := p.PortOf(ctx)
			must(t, err)
			if now.Name != before.Name || now.Value.Epoch != before.Value.Epoch || now.Value.Generation != before.Value.Generation || now.Value.State != ledger.Bound {
				t.Fatalf("%s had %+v and has %+v", p.Name, before, now)
			}
		}
		for _, a := range r.Replicas {
			if _, err := a.Metrics(ctx); err != nil {
				t.Fatalf("%s: %v", a.Name(), err)
			}
		}
	}
	fresh()
	keep()

	t.Log("a load balancer is added")
	must(t, r.SetPools(r.PoolText(arns, "")))
	eachReplica(t, r, "the third load balancer in use", func(v api.PoolView) bool {
		lb, ok := find(v, arns[2])
		return ok && lb.LeftOut == "" && v.Ports["total"] == 24
	})
	must(t, rig.Eventually(ctx, "a port of the new load balancer to be handed out", func() error {
		if !slices.ContainsFunc(ports(), func(name string) bool { return strings.HasPrefix(name, ledger.LoadBalancerID(arns[2])) }) {
			return errors.New("none yet")
		}
		return nil
	}))
	keep()

	t.Log("a load balancer is cordoned, and emptied")
	if status, text := adminCall(t, r, api.LoadBalancerPath(ledger.LoadBalancerID(arns[0]))+api.CallCordon, "to be replaced"); status != http.StatusOK {
		t.Fatalf("cordon: %d %s", status, text)
	}
	eachReplica(t, r, "it cordoned", func(v api.PoolView) bool {
		lb, _ := find(v, arns[0])
		return strings.Contains(lb.Cordoned, "to be replaced")
	})
	for _, name := range fresh() {
		if strings.HasPrefix(name, ledger.LoadBalancerID(arns[0])) {
			t.Errorf("%s was handed out on a cordoned load balancer", name)
		}
	}
	keep()
	for _, p := range on(arns[0]) {
		must(t, p.Terminate(ctx))
		delete(held, p)
	}
	eachReplica(t, r, "it empty", func(v api.PoolView) bool { lb, _ := find(v, arns[0]); return lb.Empty })

	t.Log("a broken file is refused")
	must(t, r.SetPools("pools:\n- name: default\n  loadBalancers: [nonsense]\n"))
	for _, a := range r.Replicas {
		must(t, rig.Eventually(ctx, a.Name()+" to refuse the file", func() error { return contains(ctx, a, "portlease_pool_file_refused 1") }))
	}
	fresh()
	keep()

	t.Log("ports are excluded, some of them held")
	must(t, r.SetPools(r.PoolText(arns, "  excludedPorts: [30000-30003]\n")))
	eachReplica(t, r, "fewer ports", func(v api.PoolView) bool { return v.Ports["total"] == 12 })
	for _, a := range r.Replicas {
		must(t, contains(ctx, a, "portlease_pool_file_refused 0"))
	}
	for _, name := range fresh() {
		if _, port, _ := ledger.SplitPortName(name); port <= 30003 {
			t.Errorf("%s was handed out although it is excluded", name)
		}
	}
	keep()

	t.Log("load balancers are removed, one empty, one not")
	must(t, r.SetPools(r.PoolText(arns[2:], "")))
	eachReplica(t, r, "one left, and one that is leaving", func(v api.PoolView) bool {
		_, empty := find(v, arns[0])
		leaving, there := find(v, arns[1])
		return !empty && there && leaving.Removed && leaving.Held > 0
	})
	for _, name := range fresh() {
		if !strings.HasPrefix(name, ledger.LoadBalancerID(arns[2])) {
			t.Errorf("%s was handed out although its load balancer is removed", name)
		}
	}
	keep()
	t.Log("a load balancer is deleted in AWS, and one that the pool names never was")
	_, err := r.ELB().DeleteLoadBalancer(ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &arns[0]})
	must(t, err)
	r.ForgetForeign()
	must(t, r.SetPools(r.PoolText([]string{arns[0], arns[2]}, "")))
	eachReplica(t, r, "the deleted one by name", func(v api.PoolView) bool {
		lb, ok := find(v, arns[0])
		return ok && strings.Contains(lb.LeftOut, "does not exist")
	})
	fresh()
	keep()
	stop()
	for _, p := range on(arns[1]) {
		must(t, p.Terminate(ctx))
		delete(held, p)
	}
	eachReplica(t, r, "nothing of the one that left", func(v api.PoolView) bool { _, there := find(v, arns[1]); return !there })
}

// contains returns an error unless the replica's metrics have the line.
func contains(ctx context.Context, a *rig.Replica, line string) error {
	text, err := a.Metrics(ctx)
	if err == nil && !slices.Contains(strings.Split(text, "\n"), line) {
		err = fmt.Errorf("the metrics lack %s", line)
	}
	return err
}
