package rig_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// crowd has more pods than there are ports. All pods claim at once.
type crowd struct {
	*testing.T
	rig    *rig.Rig
	pods   []*rig.Pod
	tokens []string
	admin  string
	// clients are the pods'. They keep their connections, because handshakes would be
	// most of the work.
	clients []*http.Client
}

// TestTwoHundredPodsHundredPorts lets 200 pods claim 100 ports at once through three
// replicas, twenty times. Exactly 100 pods get distinct ports, and 100 are told that
// the pool is exhausted.
func TestTwoHundredPodsHundredPorts(t *testing.T) {
	t.Parallel()
	const pods, ports, times = 200, 100, 20
	c := &crowd{T: t, rig: start(t, rig.Config{
		Replicas: 3, LoadBalancers: 4, ListenerPorts: "30000-30024", ClaimDuration: 10 * time.Minute, Cooldown: 50 * time.Millisecond,
		SweepEvery: 100 * time.Millisecond, AuditEvery: time.Minute,
	})}
	c.gather(pods)
	for round := range times {
		granted, exhausted := c.claim()
		if len(granted) != ports || exhausted != pods-ports {
			t.Fatalf("round %d: %d ports were granted and %d pods told exhausted, of %d pods and %d ports", round+1, len(granted), exhausted, pods, ports)
		}
		check(t, c.rig)
		c.release(granted)
	}
}

func (c *crowd) gather(n int) {
	c.Helper()
	var err error
	c.admin, err = c.rig.AdminToken(c.Context())
	must(c.T, err)
	c.pods, c.tokens, c.clients = make([]*rig.Pod, n), make([]string, n), make([]*http.Client, n)
	group, ctx := errgroup.WithContext(c.Context())
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error {
			var err error
			if c.pods[i], err = c.rig.NewPod(ctx, fmt.Sprintf("game-%d", i), "game=7777/UDP"); err != nil {
				return err
			}
			c.clients[i] = c.pods[i].KeepingHTTP()
			c.tokens[i], err = c.rig.Token(ctx, c.pods[i].Name)
			return err
		})
	}
	must(c.T, group.Wait())
}

// each calls do for all pods at once.
func (c *crowd) each(do func(i int) error) {
	c.Helper()
	var wait sync.WaitGroup
	for i := range c.pods {
		wait.Go(func() {
			if err := do(i); err != nil {
				c.Errorf("%s: %v", c.pods[i].Name, err)
			}
		})
	}
	wait.Wait()
	if c.Failed() {
		c.FailNow()
	}
}

// claim makes every pod claim until it gets a port or is told that the pool is
// exhausted. It gives the claims by port.
func (c *crowd) claim() (granted map[string]api.Claim, exhausted int) {
	c.Helper()
	granted = make(map[string]api.Claim)
	var mu sync.Mutex
	c.each(func(i int) error {
		var claim api.Claim
		code, err := c.ask(i, http.MethodPut, "", request(c.pods[i], onePort), &claim)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			return err
		case code == api.Exhausted:
			exhausted++
			return nil
		case code != "":
			return fmt.Errorf("it was answered %s", code)
		}
		key := fmt.Sprintf("%s:%d", claim.LoadBalancer.ARN, claim.Ports[0].ListenerPort)
		if other, taken := granted[key]; taken {
			return fmt.Errorf("S1: %s was granted to it and to %s", key, other.Pod)
		}
		granted[key] = claim
		return nil
	})
	return granted, exhausted
}

// ask makes one call as a pod. A pod that is asked to retry waits as long as the
// answer says.
func (c *crowd) ask(i int, method, call, body string, into any) (api.Code, error) {
	url := c.rig.Replicas[i%len(c.rig.Replicas)].URL() + api.ClaimPath(c.rig.Games, c.pods[i].Name) + call
	for {
		request, err := http.NewRequestWithContext(c.Context(), method, url, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+c.tokens[i])
		answer, err := c.clients[i].Do(request)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return "", err
		}
		if answer.StatusCode < http.StatusBadRequest {
			return "", json.Unmarshal(text, into)
		}
		var problem api.Problem
		if err := json.Unmarshal(text, &problem); err != nil {
			return "", fmt.Errorf("%d %s: %w", answer.StatusCode, text, err)
		}
		if problem.Code != api.Pending && problem.Code != api.Unavailable {
			return problem.Code, nil
		}
		again, err := time.ParseDuration(answer.Header.Get("Retry-After") + "s")
		if err != nil {
			return "", fmt.Errorf("%s says not when to come again: %w", problem.Code, err)
		}
		c.Logf("%s was put off: %s", c.pods[i].Name, problem.Detail)
		select {
		case <-c.Context().Done():
			return "", context.Cause(c.Context())
		case <-time.After(again):
		}
	}
}

// release gives all ports back and deletes the waiting claims. It returns when every
// replica knows that, so the next round starts with nothing claimed.
func (c *crowd) release(granted map[string]api.Claim) {
	c.Helper()
	claims := make(map[string]string) // pod name to claim UID
	for _, claim := range granted {
		claims[claim.Pod] = claim.UID
	}
	c.each(func(i int) error {
		uid, has := claims[c.pods[i].Name]
		if !has {
			return nil
		}
		code, err := c.ask(i, http.MethodPost, api.CallRelease, fmt.Sprintf(`{"claimUID":%q}`, uid), &api.ReleaseAnswer{})
		if err == nil && code != "" {
			err = fmt.Errorf("its release was answered %s", code)
		}
		return err
	})
	// A waiting pod never got its claim's UID, so it cannot release the claim.
	must(c.T, c.rig.Admin.CoordinationV1().Leases(c.rig.Namespace).DeleteCollection(c.Context(),
		metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "portlease.dev/kind=claim,portlease.dev/state=waiting"}))
	must(c.T, rig.Eventually(c.Context(), "all ports to be free", c.free))
	for _, a := range c.rig.Replicas {
		must(c.T, rig.Eventually(c.Context(), a.Name()+" to know that all ports are free", func() error { return c.knows(a) }))
	}
}

func (c *crowd) free() error {
	claims, ports, err := c.rig.Leases(c.Context())
	if err == nil && len(claims) > 0 {
		err = fmt.Errorf("%d claims are left", len(claims))
	}
	for _, p := range ports {
		if p.Value.State != ledger.Free {
			return fmt.Errorf("%s is %s", p.Name, p.Value.State)
		}
	}
	return err
}

// knows returns an error until the replica's cache shows no held port and no waiting
// claim. A stale replica would still answer exhausted.
func (c *crowd) knows(a *rig.Replica) error {
	body, err := c.rig.Get(c.Context(), a.URL()+"/v1/pools", c.admin)
	if err == nil && !strings.Contains(body, `"ports":{"available":100,"total":100},"waiting":0`) {
		err = errors.New(body)
	}
	return err
}
