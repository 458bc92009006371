package claim

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

func TestPlan(t *testing.T) {
	free, bound := ledger.Port{State: ledger.Free}, ledger.Port{State: ledger.Bound, Holder: "claim-b"}
	mine := ledger.Port{State: ledger.Bound, Holder: "claim-a", PortName: "game-0"}
	for _, test := range []struct {
		name  string
		given func(*given)
		want  want
	}{
		// Which ports, and with which fence.
		{"a port without a lease starts an epoch", func(g *given) { g.port("lb-1-2 x/1", bound, 0) }, planned("lb-1-1 e/1")},
		{"a port that had holders gets the next generation", func(g *given) { g.port("lb-1-1 x/4", free, 0); g.port("lb-1-2 x/1", bound, 0) }, planned("lb-1-1 x/5")},
		{"a port that was only ever blocked starts an epoch", func(g *given) { g.port("lb-1-1 x/0", free, 0); g.port("lb-1-2 x/1", bound, 0) }, planned("lb-1-1 e/1")},
		{"all ports are on one load balancer", func(g *given) {
			g.pool.LoadBalancers = append(g.pool.LoadBalancers, loadBalancer(lb2))
			g.requests(2)
			g.port("lb-1-1 x/1", bound, 0)
			g.port("lb-2-1 x/4", free, 0)
			g.port("lb-2-2 x/4", ledger.Port{State: ledger.Free, Namespace: "games", Pod: "a"}, 0)
		}, planned("lb-2-2 x/5", "lb-2-1 x/5")},
		{"two ports do not fit on two load balancers with one each", func(g *given) {
			g.pool.LoadBalancers = append(g.pool.LoadBalancers, loadBalancer(lb2))
			g.requests(2)
			g.port("lb-1-1 x/1", bound, 0)
			g.port("lb-2-1 x/1", bound, 0)
		}, refused(api.Exhausted)},

		// Which ports not.
		{"no port that AWS shows as occupied", func(g *given) { g.pool.LoadBalancers[0].Listed = []pool.Listed{{Port: 1}} }, planned("lb-1-2 e/1")},
		{"no port that an admin blocked", func(g *given) { g.port("lb-1-1 x/1", ledger.Port{State: ledger.Blocked, BlockedBy: "alice"}, 0) }, planned("lb-1-2 e/1")},
		{"no port that is unreadable", func(g *given) { g.port("lb-1-1 x/1", ledger.Port{}, 0) }, planned("lb-1-2 e/1")},
		{"no port that is excluded", func(g *given) { g.excluded = leaseSet{"lb-1-1": true} }, planned("lb-1-2 e/1")},
		{"no port of a cordoned load balancer", func(g *given) {
			g.pool.LoadBalancers[0].Cordoned = "cordoned by alice"
			second := loadBalancer(lb2)
			second.Listed = []pool.Listed{{Port: 1}, {Port: 443}}
			g.pool.LoadBalancers = append(g.pool.LoadBalancers, second)
		}, planned("lb-2-2 e/1")},
		{"nothing if the only load balancer is cordoned", func(g *given) { g.pool.LoadBalancers[0].Cordoned = "cordoned by alice" }, refused(api.Exhausted)},
		{"no port beyond the listener limit", func(g *given) {
			g.pool.LoadBalancers[0].Limit, g.pool.LoadBalancers[0].Listed = 1, []pool.Listed{{Port: 443}}
		}, refused(api.Exhausted)},

		// The pod's last port.
		{"the pod's last port first", func(g *given) {
			g.port("lb-1-2 x/1", ledger.Port{State: ledger.Cooldown, Namespace: "games", Pod: "a"}, 0)
		}, planned("lb-1-2 x/2")},
		{"another pod's last port last", func(g *given) {
			g.port("lb-1-1 x/1", ledger.Port{State: ledger.Free, Namespace: "games", Pod: "b"}, 59*time.Second)
		}, planned("lb-1-2 e/1")},
		{"another pod's last port if there is no other", func(g *given) {
			g.port("lb-1-1 x/1", ledger.Port{State: ledger.Free, Namespace: "games", Pod: "b"}, 0)
			g.port("lb-1-2 x/1", bound, 0)
		}, planned("lb-1-1 x/2")},
		{"it waits while its last port is being unbound", func(g *given) {
			g.port("lb-1-1 x/1", ledger.Port{State: ledger.Releasing, Namespace: "games", Pod: "a", PodUID: "before"}, 29*time.Second)
		}, refused(api.Pending)},
		{"it waits no longer than its patience", func(g *given) {
			g.port("lb-1-1 x/1", ledger.Port{State: ledger.Releasing, Namespace: "games", Pod: "a", PodUID: "before"}, 30*time.Second)
		}, planned("lb-1-2 e/1")},
		{"it does not wait in a pool that is not sticky", func(g *given) {
			g.pool.Terms.Sticky = 0
			g.port("lb-1-1 x/1", ledger.Port{State: ledger.Releasing, Namespace: "games", Pod: "a", PodUID: "before"}, 0)
		}, planned("lb-1-2 e/1")},
		{"it does not wait for a port of a cordoned load balancer", func(g *given) {
			g.pool.LoadBalancers[0].Cordoned = "cordoned by alice"
			g.pool.LoadBalancers = append(g.pool.LoadBalancers, loadBalancer(lb2))
			g.port("lb-2-1 x/1", bound, 0)
			g.port("lb-1-1 x/1", ledger.Port{State: ledger.Releasing, Namespace: "games", Pod: "a", PodUID: "before"}, 0)
		}, planned("lb-2-2 e/1")},

		// The queue.
		{"an older waiting claim is served first", func(g *given) { g.older(nil) }, refused(api.Exhausted)},
		{"a younger one is not", func(g *given) {
			g.older(func(r *ledger.Record[ledger.Claim], _ *time.Duration) { r.CreatedAt = time.Unix(101, 0) })
			g.port("lb-1-2 x/1", bound, 0)
		}, planned("lb-1-1 e/1")},
		{"one of the same second is, by name", func(g *given) {
			g.older(func(r *ledger.Record[ledger.Claim], _ *time.Duration) {
				r.Name, r.CreatedAt = "claim-Z", time.Unix(100, 0)
			})
		}, refused(api.Exhausted)},
		{"one that was silent is not", func(g *given) {
			g.older(func(_ *ledger.Record[ledger.Claim], age *time.Duration) { *age = 20*time.Second + 1 })
			g.port("lb-1-2 x/1", bound, 0)
		}, planned("lb-1-1 e/1")},
		{"one of another pool is not", func(g *given) {
			g.older(func(r *ledger.Record[ledger.Claim], _ *time.Duration) { r.Value.Pool = "other" })
			g.port("lb-1-2 x/1", bound, 0)
		}, planned("lb-1-1 e/1")},
		{"one whose pod IP is another's is not", func(g *given) {
			g.older(func(r *ledger.Record[ledger.Claim], _ *time.Duration) { r.Value.ConfirmedIP = "" })
			g.port("lb-1-2 x/1", bound, 0)
		}, planned("lb-1-1 e/1")},
		{"one with a plan is not", func(g *given) {
			g.older(func(r *ledger.Record[ledger.Claim], _ *time.Duration) { r.Value.Ports = make([]ledger.PlannedPort, 1) })
			g.port("lb-1-2 x/1", bound, 0)
		}, planned("lb-1-1 e/1")},
		{"one that already holds a port is not", func(g *given) {
			g.older(nil)
			g.port("lb-1-2 x/1", ledger.Port{State: ledger.Claimed, Holder: "claim-older"}, 0)
		}, planned("lb-1-1 e/1")},

		// A claim that has ports.
		{"a lost port is replaced beside the good one", func(g *given) {
			g.requests(2)
			g.pool.LoadBalancers[0].Ranges = []pool.Range{{From: 1, To: 3}}
			g.has(ledger.Granted, "lb-1-1 x/1", "lb-1-2 x/1")
			g.excluded = leaseSet{"lb-1-2": true}
		}, planned("lb-1-1 x/1", "lb-1-3 e/1")},
		{"on the same load balancer, although another one is empty", func(g *given) {
			g.pool.LoadBalancers[0].Ranges = []pool.Range{{From: 1, To: 3}}
			g.pool.LoadBalancers = append(g.pool.LoadBalancers, loadBalancer(lb2))
			g.requests(2)
			g.has(ledger.Granted, "lb-1-1 x/1", "lb-1-2 x/1")
			g.port("lb-1-1 x/1", mine, 0)
			g.port("lb-1-2 x/1", bound, 0)
			g.excluded = leaseSet{"lb-1-2": true}
		}, planned("lb-1-1 x/1", "lb-1-3 e/1")},
		{"before older waiting claims", func(g *given) {
			g.requests(2)
			g.pool.LoadBalancers[0].Ranges = []pool.Range{{From: 1, To: 3}}
			g.has(ledger.Granted, "lb-1-1 x/1", "lb-1-2 x/1")
			g.excluded = leaseSet{"lb-1-1": true}
			g.older(nil)
		}, planned("lb-1-3 e/1", "lb-1-2 x/1")},
		{"on a cordoned load balancer too", func(g *given) {
			g.requests(2)
			g.pool.LoadBalancers[0].Ranges, g.pool.LoadBalancers[0].Cordoned = []pool.Range{{From: 1, To: 3}}, "cordoned by alice"
			g.has(ledger.Granted, "lb-1-1 x/1", "lb-1-2 x/1")
			g.excluded = leaseSet{"lb-1-2": true}
		}, planned("lb-1-1 x/1", "lb-1-3 e/1")},
		{"a kept port that the cache shows as free is not planned twice", func(g *given) {
			g.requests(2)
			g.has(ledger.Waiting, "lb-1-1 x/1", "lb-1-2 x/1")
			g.port("lb-1-1 x/0", free, 0)
			g.excluded = leaseSet{"lb-1-2": true}
		}, want{nil, ledger.Waiting, true, api.Exhausted}},
		{"a granted claim keeps its good port if no other is free", func(g *given) {
			g.requests(2)
			g.has(ledger.Granted, "lb-1-1 x/1", "lb-1-2 x/1")
			g.excluded = leaseSet{"lb-1-2": true}
		}, refused(api.Exhausted)},
		{"a granted claim without a good port waits without ports", func(g *given) {
			g.has(ledger.Granted, "lb-1-1 x/1")
			g.excluded = leaseSet{"lb-1-1": true}
			g.port("lb-1-2 x/1", bound, 0)
		}, want{nil, ledger.Waiting, true, api.Exhausted}},
		{"a waiting claim gives up a plan that it cannot complete", func(g *given) {
			g.requests(2)
			g.has(ledger.Waiting, "lb-1-1 x/1", "lb-1-2 x/1")
			g.excluded = leaseSet{"lb-1-1": true}
		}, want{nil, ledger.Waiting, true, api.Exhausted}},

		// A pool that is not read yet.
		{"nothing fits, and a load balancer is not read yet", func(g *given) {
			g.pool.LoadBalancers, g.pool.Unread = nil, true
		}, refused(api.Pending)},
		{"something fits on what was read", func(g *given) { g.pool.Unread = true; g.port("lb-1-1 x/1", bound, 0) }, planned("lb-1-2 e/1")},
		{"it holds ports on the load balancer that is not read yet", func(g *given) {
			g.pool.LoadBalancers, g.pool.Unread = []pool.LoadBalancer{loadBalancer(lb2)}, true
			g.port("lb-1-1 x/1", mine, 0)
		}, refused(api.Pending)},
		{"its plan is on the load balancer that is not read yet", func(g *given) {
			g.pool.LoadBalancers, g.pool.Unread = []pool.LoadBalancer{loadBalancer(lb2)}, true
			g.has(ledger.Granted, "lb-1-1 x/1")
			g.excluded = leaseSet{"lb-1-1": true}
		}, refused(api.Pending)},

		// A claim lease that was deleted and created again.
		{"it gets back what it still holds", func(g *given) { g.requests(1); g.port("lb-1-2 x/7", mine, 0) }, planned("lb-1-2 x/7")},
		{"it gets back one port and a new one", func(g *given) { g.requests(2); g.port("lb-1-2 x/7", mine, 0) }, planned("lb-1-2 x/7", "lb-1-1 e/1")},
		{"not a port with a foreign listener", func(g *given) {
			g.requests(1)
			collided := mine
			collided.Foreign = "arn"
			g.port("lb-1-2 x/7", collided, 0)
		}, planned("lb-1-1 e/1")},
		{"not a port that is being released", func(g *given) {
			g.requests(1)
			g.port("lb-1-2 x/7", ledger.Port{State: ledger.Releasing, Holder: "claim-a", PortName: "game-0"}, 0)
		}, planned("lb-1-1 e/1")},
		{"not a port that it gave up", func(g *given) {
			g.requests(1)
			g.claim.Value.Planned = true
			g.port("lb-1-2 x/7", mine, 0)
		}, planned("lb-1-1 e/1")},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGiven(t)
			test.given(g)
			if diff := cmp.Diff(test.want, outcome(makePlan(g.situation))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestPlannedPortHasTheTermsOfItsPool: they are fixed for the life of the holding.
func TestPlannedPortHasTheTermsOfItsPool(t *testing.T) {
	g := newGiven(t)
	g.pool.LoadBalancers[0].Ranges = []pool.Range{{From: 1, To: 1}}
	g.pool.Terms.Attributes = map[string]string{"key": "value"}
	g.pool.Terms.HealthCheck = api.HealthCheck{IntervalSeconds: 10}
	got := makePlan(g.situation).claim
	wanted := ledger.PlannedPort{
		ListenerPort: 1, Fence: fence("lb-1-1 e/1"), Attributes: map[string]string{"key": "value"}, Cooldown: time.Second,
		HealthCheck: api.HealthCheck{IntervalSeconds: 10, Protocol: "HTTP", Port: 9901, Path: api.HealthPath},
	}
	if diff := cmp.Diff([]ledger.PlannedPort{wanted}, got.Ports); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(g.pool.LoadBalancers[0].LoadBalancer, got.LoadBalancer); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestClaimWithoutPortsKeepsNoPreviousIP: its targets go with its ports.
func TestClaimWithoutPortsKeepsNoPreviousIP(t *testing.T) {
	g := newGiven(t)
	g.has(ledger.Waiting, "lb-1-1 x/1")
	g.claim.Value.PreviousIP = "10.0.0.9"
	g.excluded = leaseSet{"lb-1-1": true, "lb-1-2": true}
	if p := makePlan(g.situation); p.claim.PreviousIP != "" || !p.claim.Planned {
		t.Errorf("planned %+v", p.claim)
	}
}
