package claim_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// TestOlderClaimIsServedFirst lets a younger claim ask first for the only port that
// becomes free.
func TestOlderClaimIsServedFirst(t *testing.T) {
	for _, test := range []struct {
		name string
		wait func(*world)
	}{
		{"the pool was exhausted", func(w *world) {
			w.cloud.foreign(listenerPort)
			_, err := w.claim("older", "10.0.0.1")
			w.refused(err, api.Exhausted)
		}},
		{"its previous port is still being unbound", func(w *world) {
			c := w.bind("older", "10.0.0.1")
			w.cloud.foreign(listenerPort)
			_, err := w.service.ReportCollision(w.Context(), holderOf("older"), api.CollisionRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence})
			w.refused(err, api.Exhausted)
			if port := w.ledger.Ports.Value(c.Ports[0].Fence.Lease); port.State != ledger.Releasing || port.Holder != "claim-uid-older" {
				w.Fatalf("its previous port is %+v", port)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.cloud.foreign(listenerPort + 1)
				test.wait(w)
				time.Sleep(time.Second) // in the bubble; creation times are in whole seconds
				// The queue waits only for a claim whose pod IP is confirmed.
				if older := w.claimLease("older").Value; older.State != ledger.Waiting || older.ConfirmedIP != older.PodIP {
					t.Fatalf("the older claim is %s, with pod IP %s confirmed of %s", older.State, older.ConfirmedIP, older.PodIP)
				}
				delete(w.cloud.listeners, listenerPort+1)
				_, err := w.claim("younger", "10.0.0.2")
				w.refused(err, api.Exhausted)
				c, err := w.claim("older", "10.0.0.1")
				if err != nil || len(c.Ports) != 1 || c.Ports[0].ListenerPort != listenerPort+1 {
					t.Errorf("the older claim is granted %+v, %v", c.Ports, err)
				}
			})
		})
	}
}

// TestClaimWithAnotherPodsIPBlocksNoOtherClaim: the older claim cannot be granted the
// free port, because another live claim records its pod IP.
func TestClaimWithAnotherPodsIPBlocksNoOtherClaim(t *testing.T) {
	w := newWorld(t, 2)
	w.bind("former", "10.0.0.1")
	_, err := w.claim("older", "10.0.0.1")
	w.refused(err, api.Pending)
	c, err := w.claim("younger", "10.0.0.2")
	if err != nil || len(c.Ports) != 1 {
		t.Errorf("a port is free and the younger claim is granted %+v, %v", c.Ports, err)
	}
}

// TestReturningPodIPIsConfirmedAgain moves a pod from its IP to another and back. In
// between a second pod claims with the first IP and dies. Its claim must be released
// before both have a target of one IP.
func TestReturningPodIPIsConfirmedAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		move func(*world)
	}{
		{"confirmed elsewhere meanwhile", func(w *world) {
			if err := w.move("mover", "10.0.0.9"); err != nil {
				w.Fatal(err)
			}
		}},
		{"could not be confirmed elsewhere", func(w *world) {
			w.bind("neighbor", "10.0.0.9")
			w.refused(w.move("mover", "10.0.0.9"), api.Pending)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 4)
			w.bind("mover", "10.0.0.8")
			test.move(w)
			w.bind("dead", "10.0.0.8")
			delete(w.pods, "dead")
			w.refused(w.move("mover", "10.0.0.8"), api.Pending)
			w.unbind("dead")
			if err := w.move("mover", "10.0.0.8"); err != nil {
				t.Fatal(err)
			}
			if dead := w.claimLease("dead").Value; dead.State != ledger.ClaimReleasing {
				t.Errorf("the dead pod's claim is %s and records %s as well", dead.State, dead.PodIP)
			}
		})
	}
}

// bare is an AWS account without load balancers.
type bare struct{ inventory.AWS }

func (bare) Limits(context.Context) (elb.Limits, error) { return elb.Limits{Listeners: 50}, nil }

func (bare) NetworkLoadBalancers(context.Context) ([]string, error) { return nil, nil }

func (bare) Tags(context.Context, ...string) (map[string]map[string]string, error) { return nil, nil }

func (bare) CrossZone(context.Context, string) (bool, error) { return true, nil }

func (bare) LoadBalancers(context.Context, ...string) ([]elb.LoadBalancer, error) { return nil, nil }

// TestPoolIsPendingUntilItsTagsAreRead: a pool without load balancers is exhausted,
// which blames the pool file. One that has not been read yet is not.
func TestPoolIsPendingUntilItsTagsAreRead(t *testing.T) {
	tagged := func(value string) []poolfile.Pool {
		return []poolfile.Pool{{Name: "default", Terms: pool.Terms{Protocols: []api.Protocol{api.TCP}}, Tags: map[string]string{"games": value}}}
	}
	w := newWorld(t, 1)
	stock := inventory.New(inventory.Config{
		Ledger: "l", AWS: bare{}, Ports: w.ports, Cordons: ledgermem.NewTable(w.ledger.Cordons, ledgermem.Direct, nil), Log: slog.New(slog.DiscardHandler),
	}, tagged("some"))
	w.service.Pools = stock
	describe := func() {
		if err := stock.Describe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want api.Code
	}{
		{"the allocator has just started", func() {}, api.Pending},
		{"no load balancer carries the tags", describe, api.Exhausted},
		{"the pool file was read again", func() { stock.SetPools(tagged("some")) }, api.Exhausted},
		{"the pool has other tags", func() { stock.SetPools(tagged("others")) }, api.Pending},
		{"no load balancer carries those either", describe, api.Exhausted},
	} {
		step.do()
		if _, err := w.claim("game", "10.0.0.1"); !errors.Is(err, &api.Problem{Code: step.want}) {
			t.Errorf("%s: got %v, want %s", step.name, err, step.want)
		}
	}
}
