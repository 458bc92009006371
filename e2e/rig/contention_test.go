package rig_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// put makes one PUT as a pod and gives the claim, or the problem document.
func put(t *testing.T, p *rig.Pod, a *rig.Replica, token, body string) (api.Claim, api.Problem, int) {
	t.Helper()
	status, text, err := p.Call(t.Context(), a, http.MethodPut, "", token, body)
	if err != nil {
		t.Error(err)
		return api.Claim{}, api.Problem{}, 0
	}
	var claim api.Claim
	var problem api.Problem
	if status >= http.StatusBadRequest {
		err = json.Unmarshal([]byte(text), &problem)
	} else {
		err = json.Unmarshal([]byte(text), &claim)
	}
	if err != nil {
		t.Errorf("%d %s: %v", status, text, err)
	}
	return claim, problem, status
}

func request(p *rig.Pod, ports string) string {
	return fmt.Sprintf(`{"podUID":%q,"podIP":%q,"pool":"default","ports":%s,"healthPort":9901}`, p.UID, p.IP, ports)
}

const onePort = `[{"name":"game","targetPort":7777,"protocol":"UDP"}]`

// TestFortyPodsTwentyPorts repeats the race of the operator that portlease replaces:
// 40 pods claim 20 ports at once through two replicas. Exactly 20 pods get distinct
// ports, and 20 are told that the pool is exhausted.
func TestFortyPodsTwentyPorts(t *testing.T) {
	const pods, ports = 40, 20
	r := start(t, rig.Config{Replicas: 2, LoadBalancers: 2, ListenerPorts: "30000-30009"})
	ctx := t.Context()
	var all []*rig.Pod
	tokens := make(map[*rig.Pod]string)
	for n := range pods {
		p, err := r.NewPod(ctx, fmt.Sprintf("game-%d", n), "game=7777/UDP")
		must(t, err)
		tokens[p], err = r.Token(ctx, p.Name)
		must(t, err)
		all = append(all, p)
	}
	var mu sync.Mutex
	granted := make(map[string]string) // load balancer and port → pod
	exhausted := 0
	var wait sync.WaitGroup
	for n, p := range all {
		wait.Go(func() {
			for {
				claim, problem, status := put(t, p, r.Replicas[n%2], tokens[p], request(p, onePort))
				if problem.Code == api.Pending || problem.Code == api.Unavailable {
					<-time.After(50 * time.Millisecond) // the allocator asked the pod to retry
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case status == http.StatusCreated || status == http.StatusOK:
					key := fmt.Sprintf("%s:%d", claim.LoadBalancer.ARN, claim.Ports[0].ListenerPort)
					if other, taken := granted[key]; taken {
						t.Errorf("S1: %s was granted to %s and to %s", key, other, p.Name)
					}
					granted[key] = p.Name
				case problem.Code == api.Exhausted:
					exhausted++
				default:
					t.Errorf("%s was answered %d %+v", p.Name, status, problem)
				}
				return
			}
		})
	}
	wait.Wait()
	if len(granted) != ports || exhausted != pods-ports {
		t.Errorf("%d ports were granted and %d pods told exhausted, of %d pods and %d ports", len(granted), exhausted, pods, ports)
	}
	check(t, r)
}

// TestRepeatedClaims sends the same PUT many times at once to all replicas and gets
// one claim with one port. Each replica gets as many calls at once as it takes of one pod,
// so none is refused.
func TestRepeatedClaims(t *testing.T) {
	const atOnce, times = 4, 3
	r := start(t, rig.Config{Replicas: 3, InProcess: true})
	ctx := t.Context()
	p, err := r.NewPod(ctx, "game-0", "game=7777/UDP")
	must(t, err)
	token, err := r.Token(ctx, p.Name)
	must(t, err)
	var mu sync.Mutex
	seen := make(map[string]int)
	var wait sync.WaitGroup
	for n := range atOnce * len(r.Replicas) {
		wait.Go(func() {
			for done := 0; done < times; {
				claim, problem, _ := put(t, p, r.Replicas[n%len(r.Replicas)], token, request(p, onePort))
				if problem.Code == api.Pending || problem.Code == api.Unavailable {
					<-time.After(50 * time.Millisecond) // the allocator asked the pod to retry
					continue
				}
				if problem.Code != "" {
					t.Errorf("one was answered %+v", problem)
					return
				}
				mu.Lock()
				seen[fmt.Sprintf("%s %+v", claim.UID, claim.Ports)]++
				mu.Unlock()
				done++
			}
		})
	}
	wait.Wait()
	if len(seen) != 1 {
		t.Errorf("one pod got %d claims: %v", len(seen), seen)
	}
	check(t, r)
	_, ports, err := r.Leases(ctx)
	must(t, err)
	held := 0
	for _, port := range ports {
		if port.Value.Holder != "" {
			held++
		}
	}
	if held != 1 {
		t.Errorf("one pod holds %d ports", held)
	}
}

// TestAllPortsOnOneLoadBalancer claims several ports: a pod gets all of them on one
// load balancer, or none.
func TestAllPortsOnOneLoadBalancer(t *testing.T) {
	r := start(t, rig.Config{LoadBalancers: 2, ListenerPorts: "30000-30002"})
	ctx := t.Context()
	two := newPod(t, r, "two", "game=7777/UDP,chat=8080/TCP")
	also := newPod(t, r, "also-two", "game=7777/TCP_UDP,chat=8080/TCP")
	must(t, two.WaitBound(ctx), also.WaitBound(ctx))
	check(t, r)
	for _, p := range []*rig.Pod{two, also} {
		b := bindingOf(t, r, p)
		if len(b.Listeners) != 2 || b.Listeners[0].LoadBalancerARN != b.Listeners[1].LoadBalancerARN {
			t.Errorf("%s has listeners %+v", p.Name, b.Listeners)
		}
	}
	// Two ports are left, one on each load balancer. Neither two nor three ports fit
	// on one.
	p, err := r.NewPod(ctx, "greedy", "a=1/TCP,b=2/TCP")
	must(t, err)
	token, err := r.Token(ctx, p.Name)
	must(t, err)
	_, problem, status := put(t, p, r.Replicas[0], token, request(p, `[{"name":"a","targetPort":1,"protocol":"TCP"},{"name":"b","targetPort":2,"protocol":"TCP"}]`))
	if status != http.StatusServiceUnavailable || problem.Code != api.Exhausted || !strings.Contains(problem.Detail, "2 free listener ports") {
		t.Errorf("two ports on two load balancers were answered %d %+v", status, problem)
	}
	if port, err := p.PortOf(ctx); err == nil {
		t.Errorf("it holds %s all the same", port.Name)
	}
	check(t, r)
}
