package rig_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
)

// TestHoldersKeepTheirPortsDuringOutages disables each part that a running game might
// depend on, one after the other. No port is lost and no binding changes.
func TestHoldersKeepTheirPortsDuringOutages(t *testing.T) {
	r := start(t, rig.Config{Replicas: 2})
	ctx := t.Context()
	var pods []*rig.Pod
	for n := range 3 {
		pods = append(pods, newPod(t, r, fmt.Sprintf("game-%d", n), "game=7777/UDP"))
	}
	holding := make(map[*rig.Pod]rig.PortRecord)
	for _, p := range pods {
		must(t, p.WaitBound(ctx))
		port, err := p.PortOf(ctx)
		must(t, err)
		holding[p] = port
	}
	check(t, r)

	each := func(do func(*rig.Replica)) func() {
		return func() {
			for _, a := range r.Replicas {
				do(a)
			}
		}
	}
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"allocators paused", each(func(a *rig.Replica) { must(t, a.Pause()) }), each(func(a *rig.Replica) { must(t, a.Resume()) })},
		{"allocators killed", each(func(a *rig.Replica) { must(t, a.Kill(ctx)) }), each(func(a *rig.Replica) { must(t, a.Revive(ctx)) })},
		{"allocators cut off from the API server", each((*rig.Replica).CutKubernetes), each((*rig.Replica).Heal)},
		{"allocators cut off from AWS", each((*rig.Replica).CutAWS), each((*rig.Replica).Heal)},
		{"API server paused", func() { must(t, r.Kube.Pause()) }, func() { must(t, r.Kube.Resume()) }},
		{"agents cut off", func() {
			for _, p := range pods {
				p.Cut()
			}
		}, func() {
			for _, p := range pods {
				p.Heal()
			}
		}},
		{"agents killed", func() {
			for _, p := range pods {
				must(t, p.Kill(ctx))
			}
		}, func() {
			for _, p := range pods {
				must(t, p.Start())
			}
		}},
	} {
		outage.begin()
		// The outage is longer than any claim, so a part that would reclaim a port
		// has had the time.
		lasts := time.NewTimer(r.ClaimDuration + 2*time.Second)
		select {
		case <-ctx.Done():
		case <-lasts.C:
		}
		outage.end()
		for _, p := range pods {
			before := holding[p].Value
			// A renewal after the outage shows that both sides work again.
			ended := time.Now()
			if err := rig.Eventually(ctx, p.Name+" to renew after "+outage.name, func() error {
				claim, err := p.Claim(ctx)
				if err == nil && claim.Value.RenewedAt.Before(ended) {
					err = fmt.Errorf("its last renewal was at %v", claim.Value.RenewedAt)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			must(t, p.WaitBound(ctx))
			port, err := p.PortOf(ctx)
			must(t, err)
			after := port.Value
			if after.State != ledger.Bound || after.Generation != before.Generation || after.ListenerARN != before.ListenerARN || after.TargetGroupARN != before.TargetGroupARN {
				t.Errorf("%s: %s had %+v and has %+v", outage.name, p.Name, before, after)
			}
		}
		check(t, r)
		must(t, r.CheckAtRest(ctx))
	}
}

// TestResumedAgentLeavesTheNewHolderAlone pauses an agent, force-deletes its pod, and
// gives port and IP to another pod. The resumed agent changes nothing of the new
// holder's.
func TestResumedAgentLeavesTheNewHolderAlone(t *testing.T) {
	r := start(t, rig.Config{ListenerPorts: "30000"})
	ctx := t.Context()
	zombie := newPod(t, r, "zombie", "game=7777/UDP")
	must(t, zombie.WaitBound(ctx))
	must(t, zombie.Pause(), zombie.Remove(ctx))

	heir, err := r.NewPod(ctx, "heir", "game=7777/UDP")
	must(t, err)
	must(t, heir.Start(), heir.WaitBound(ctx))
	check(t, r)
	before := bindingOf(t, r, heir)

	must(t, zombie.Resume())
	must(t, rig.Eventually(ctx, "the allocator to refuse the zombie", func() error {
		log, err := zombie.Log()
		if err == nil && !strings.Contains(log, "failed to renew the claim") && !strings.Contains(log, "claim lost") {
			err = errors.New("it has not tried to renew yet")
		}
		return err
	}))
	check(t, r)
	must(t, r.CheckAtRest(ctx))
	if after := bindingOf(t, r, heir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the heir's binding was %+v and is %+v", before, after)
	}
}

// TestGracefulStopFinishesCallsInProgress sends SIGTERM to a replica while the API
// server delays a claim. That replica grants the claim and only then ends.
func TestGracefulStopFinishesCallsInProgress(t *testing.T) {
	r := start(t, rig.Config{})
	ctx := t.Context()
	a := r.Replicas[0]
	p, err := r.NewPod(ctx, "game-0", "game=7777/UDP")
	must(t, err)
	token, err := r.Token(ctx, p.Name)
	must(t, err)
	must(t, r.Kube.Pause())
	resume := sync.OnceFunc(func() { must(t, r.Kube.Resume()) })
	defer resume()
	answered := make(chan int, 1)
	go func() {
		_, _, status := put(t, p, a, token, request(p, onePort))
		answered <- status
	}()
	// When the replica has noticed that the API server does not answer, it has
	// already started on the claim.
	must(t, rig.Eventually(ctx, "the replica to be unready", func() error {
		if status, _, err := a.Call(ctx, http.MethodGet, "/readyz", "", ""); err != nil || status == http.StatusOK {
			return fmt.Errorf("it answers %d, %w", status, err)
		}
		return nil
	}))
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(context.WithoutCancel(ctx)) }()
	must(t, rig.Eventually(ctx, "the replica to take no more calls", func() error {
		if status, _, err := a.Call(ctx, http.MethodGet, "/livez", "", ""); err == nil {
			return fmt.Errorf("it answers %d", status)
		}
		return nil
	}))
	select {
	case err := <-stopped:
		t.Fatalf("it stopped before the claim was answered: %v", err)
	case status := <-answered:
		t.Fatalf("it answered %d with the API server away", status)
	default:
	}
	resume()
	if status := <-answered; status != http.StatusCreated {
		t.Errorf("it answered %d", status)
	}
	must(t, <-stopped)
	if c, err := p.Claim(ctx); err != nil || c.Value.State != ledger.Granted {
		t.Errorf("the claim is %+v, %v", c, err)
	}
	check(t, r)
}
