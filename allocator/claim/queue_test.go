package claim_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/ledger/ledgertest"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// TestOlderClaimIsServedFirst lets a younger pod ask first for the only port that becomes
// free while an elder waits.
func TestOlderClaimIsServedFirst(t *testing.T) {
	for _, test := range []struct {
		name string
		wait func(*ledgerWorld)
	}{
		{"the elder found the pool full", func(w *ledgerWorld) {
			w.cloud.foreign(listenerPort)
			_, err := w.claim("elder", "10.0.0.1")
			w.refused(err, api.Exhausted)
		}},
		{"the elder's former port is still to be unbound", func(w *ledgerWorld) {
			c := w.bind("elder", "10.0.0.1")
			w.cloud.foreign(listenerPort)
			_, err := w.service.ReportCollision(w.Context(), holderOf("elder"), api.CollisionRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence})
			w.refused(err, api.Exhausted)
			if port := w.ports.Rows[c.Ports[0].Fence.Lease].Value; port.State != ledger.Releasing || port.Holder != "claim-uid-elder" {
				w.Fatalf("its former port is %+v", port)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 2)
			w.cloud.foreign(listenerPort + 1)
			test.wait(w)
			// Who has an address of its own is one that the line waits for.
			if elder := w.claimLease("elder").Value; elder.State != ledger.Waiting || elder.ConfirmedIP != elder.PodIP {
				t.Fatalf("the elder is %s, with address %s settled of %s", elder.State, elder.ConfirmedIP, elder.PodIP)
			}
			delete(w.cloud.listeners, listenerPort+1)
			_, err := w.claim("younger", "10.0.0.2")
			w.refused(err, api.Exhausted)
			c, err := w.claim("elder", "10.0.0.1")
			if err != nil || len(c.Ports) != 1 || c.Ports[0].ListenerPort != listenerPort+1 {
				t.Errorf("the elder gets %+v, %v", c.Ports, err)
			}
		})
	}
}

// TestClaimWithAnotherPodsIPBlocksNoOtherClaim has an elder whose address another live pod
// still records. It cannot be granted the free port, so nobody waits for it.
func TestClaimWithAnotherPodsIPBlocksNoOtherClaim(t *testing.T) {
	w := newLedgerWorld(t, 2)
	w.bind("former", "10.0.0.1")
	_, err := w.claim("elder", "10.0.0.1")
	w.refused(err, api.Pending)
	c, err := w.claim("younger", "10.0.0.2")
	if err != nil || len(c.Ports) != 1 {
		t.Errorf("a port is free and the younger gets %+v, %v", c.Ports, err)
	}
}

// TestReturningPodIPIsConfirmedAgain moves a pod from its address to
// another and back. In between a second pod claims with the first address and
// dies: its claim must end before both would have a target of one address.
func TestReturningPodIPIsConfirmedAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		move func(*ledgerWorld)
	}{
		{"settled elsewhere meanwhile", func(w *ledgerWorld) {
			if err := w.move("mover", "10.0.0.9"); err != nil {
				w.Fatal(err)
			}
		}},
		{"could not settle elsewhere", func(w *ledgerWorld) {
			w.bind("neighbor", "10.0.0.9")
			w.refused(w.move("mover", "10.0.0.9"), api.Pending)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 4)
			w.bind("mover", "10.0.0.8")
			test.move(w)
			w.bind("dead", "10.0.0.8")
			delete(w.pods, "dead")
			if err := w.move("mover", "10.0.0.8"); err != nil {
				t.Fatal(err)
			}
			if dead := w.claimLease("dead").Value; dead.State != ledger.ClaimReleasing {
				t.Errorf("the dead pod's claim is %s and has address %s as well", dead.State, dead.PodIP)
			}
		})
	}
}

// bare is an AWS account without load balancers.
type bare struct{ inventory.AWS }

func (bare) ListenerLimit(context.Context) (int, error) { return 50, nil }

func (bare) NetworkLoadBalancers(context.Context) ([]string, error) { return nil, nil }

func (bare) Tags(context.Context, ...string) (map[string]map[string]string, error) { return nil, nil }

func (bare) LoadBalancers(context.Context, ...string) ([]elb.LoadBalancer, error) { return nil, nil }

// TestPoolIsPendingUntilItsTagsAreRead tells a pool that has no load
// balancer from one of which nobody knows yet: exhausted would blame the pool file.
func TestPoolIsPendingUntilItsTagsAreRead(t *testing.T) {
	tagged := func(value string) []poolfile.Pool {
		return []poolfile.Pool{{Name: "default", Terms: pool.Terms{Protocols: []api.Protocol{api.TCP}}, Tags: map[string]string{"games": value}}}
	}
	w := newLedgerWorld(t, 1)
	stock := inventory.New(inventory.Config{
		Ledger: "l", AWS: bare{}, Ports: w.ports, Cordons: ledgertest.NewTable[ledger.Cordon](), Log: slog.New(slog.DiscardHandler),
	}, tagged("some"))
	w.service.Pools = stock
	look := func() {
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
		{"no load balancer carries the tags", look, api.Exhausted},
		{"the pool file was read again", func() { stock.SetPools(tagged("some")) }, api.Exhausted},
		{"the pool has other tags", func() { stock.SetPools(tagged("others")) }, api.Pending},
		{"no load balancer carries those either", look, api.Exhausted},
	} {
		step.do()
		if _, err := w.claim("game", "10.0.0.1"); !errors.Is(err, &api.Problem{Code: step.want}) {
			t.Errorf("%s: got %v, want %s", step.name, err, step.want)
		}
	}
}
