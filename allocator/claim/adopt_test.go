package claim_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// TestAdoptionNeedsProofFromAWS: lost leases are restored only for a binding that AWS
// has exactly as the agent presents it.
func TestAdoptionNeedsProofFromAWS(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(w *world, p api.ClaimedPort)
		want   api.Code // empty: adopted
	}{
		{"all as presented", func(*world, api.ClaimedPort) {}, ""},
		{"a listener of another pod", func(w *world, p api.ClaimedPort) {
			w.cloud.owners[p.ListenerARN] = pool.Owner{PodUID: "uid-b", Fence: p.Fence}
		}, api.Lost},
		{"a listener of another generation", func(w *world, p api.ClaimedPort) {
			f := p.Fence
			f.Generation++
			w.cloud.owners[p.ListenerARN] = pool.Owner{PodUID: "uid-a", Fence: f}
		}, api.Lost},
		{"a listener without tags", func(w *world, p api.ClaimedPort) { delete(w.cloud.owners, p.ListenerARN) }, api.Lost},
		{"a listener that forwards elsewhere", func(w *world, p api.ClaimedPort) { w.cloud.foreign(p.ListenerPort) }, api.Lost},
		{"no listener", func(w *world, p api.ClaimedPort) { delete(w.cloud.listeners, p.ListenerPort) }, api.Lost},
		{"a pod that is gone", func(w *world, _ api.ClaimedPort) { delete(w.pods, "a") }, api.Lost},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			c := w.bind("a", "10.0.0.1")
			p := c.Ports[0]
			w.loseClaim("a")
			w.ledger.Ports.Remove(p.Fence.Lease)
			test.change(w, p)
			_, err := w.renew(c)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				w.keeps(c, ledger.Bound)
				// Audits leave out a claim whose pod IP is not confirmed.
				if r := w.claimLease("a").Value; r.ConfirmedIP != r.PodIP {
					t.Errorf("pod IP %q is confirmed of %s", r.ConfirmedIP, r.PodIP)
				}
				return
			}
			w.refused(err, test.want)
			if claims, ports := w.ledger.Claims.List(), w.ledger.Ports.List(); len(claims) > 0 || len(ports) > 0 {
				t.Errorf("left in the ledger: %v, %v", claims, ports)
			}
		})
	}
}

// TestAdoptionFollowsTheRulesOfAClaim: a game makes a listener itself, with the tags of
// its own pod, and presents it. That gives it nothing that a claim would not give it.
func TestAdoptionFollowsTheRulesOfAClaim(t *testing.T) {
	portLease := func(change func(*ledger.Port)) func(*world, api.ClaimedPort) {
		return func(w *world, p api.ClaimedPort) {
			port := ledger.Port{LoadBalancerARN: firstLB, ListenerPort: p.ListenerPort, State: ledger.Free, Epoch: p.Fence.Epoch, Generation: p.Fence.Generation - 1}
			change(&port)
			w.ledger.Ports.Recreate(p.Fence.Lease, port)
		}
	}
	for _, test := range []struct {
		name   string
		change func(w *world, p api.ClaimedPort)
		why    string // empty: adopted
	}{
		{"an open pool and a port that nobody had", func(*world, api.ClaimedPort) {}, ""},
		{"a cordoned load balancer", func(w *world, _ api.ClaimedPort) { w.cloud.cordoned = "alice: soon" }, ""},
		{"a pool closed to the namespace", func(w *world, _ api.ClaimedPort) { w.cloud.terms.Namespaces = []string{"other"} }, "does not admit namespace games"},
		{"a protocol that the pool does not have", func(w *world, _ api.ClaimedPort) { w.cloud.terms.Protocols = []api.Protocol{api.UDP} }, "has no TCP"},
		{"a port outside the pool", func(w *world, _ api.ClaimedPort) { w.cloud.ranges = []pool.Range{{From: 1, To: 2}} }, "cannot be adopted"},
		{"a free port", portLease(func(*ledger.Port) {}), "generation 5 of port lease"},
		{"a port that was only ever blocked", portLease(func(p *ledger.Port) {
			p.State, p.BlockedBy, p.Epoch, p.Generation = ledger.Blocked, "alice: flood", "", 0
		}), "generation 5 of port lease"},
		{"a blocked port", portLease(func(p *ledger.Port) { p.State, p.BlockedBy = ledger.Blocked, "alice: flood" }), "generation 5 of port lease"},
		{"a port in cooldown", portLease(func(p *ledger.Port) {
			p.State, p.Namespace, p.Pod, p.PodUID = ledger.Cooldown, "games", "b", "uid-b"
		}), "generation 5 of port lease"},
		{"its own port in cooldown", portLease(func(p *ledger.Port) {
			p.State, p.Generation, p.Namespace, p.Pod, p.PodUID = ledger.Cooldown, p.Generation+1, "games", "a", "uid-a"
		}), "generation 5 of port lease"},
		{"a port of another pod", portLease(func(p *ledger.Port) { p.State, p.Holder = ledger.Bound, "claim-uid-b" }), "generation 5 of port lease"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			p := w.selfMade("a", api.Fence{Lease: ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort), Epoch: "e", Generation: 5})
			test.change(w, p)
			before := w.ledger.Ports.List()
			_, err := w.renew(api.Claim{UID: "none", Pod: "a", PodIP: "10.0.0.1", Pool: "default", Ports: []api.ClaimedPort{p}})
			if test.why == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			w.refused(err, api.Lost)
			if !strings.Contains(err.Error(), test.why) {
				t.Errorf("the answer is %q, want it to say %q", err, test.why)
			}
			if claims, ports := w.ledger.Claims.List(), w.ledger.Ports.List(); len(claims) > 0 || !reflect.DeepEqual(ports, before) {
				t.Errorf("left in the ledger: %v, %v; there was %v", claims, ports, before)
			}
		})
	}
}

// TestHoldingReplacesAnOlderRecord replaces a live pod's port lease by an older record:
// an admin restored a backup, or blocked the port after its lease had been deleted.
// Nobody holds that record, so the holder's next renewal restores the lease. A block
// stays. Without its claim lease, the pod has no proof that it held the port.
func TestHoldingReplacesAnOlderRecord(t *testing.T) {
	for _, test := range []struct {
		name  string
		older ledger.Port
	}{
		{"a generation ago, free", ledger.Port{State: ledger.Free, Epoch: "former", Generation: 4}},
		{"never held, free", ledger.Port{State: ledger.Free}},
		{"never held, blocked by an admin", ledger.Port{State: ledger.Blocked, BlockedBy: "alice: flood"}},
	} {
		for _, claimToo := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, claim lost %v", test.name, claimToo), func(t *testing.T) {
				w := newWorld(t, 1)
				older := test.older
				older.LoadBalancerARN, older.ListenerPort = firstLB, listenerPort
				lease := ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort)
				if older.Generation > 0 {
					w.ledger.Ports.Recreate(lease, older)
				}
				c := w.bind("live", "10.0.0.1")
				w.ledger.Ports.Recreate(lease, older)
				if claimToo {
					w.loseClaim("live")
					_, err := w.renew(c)
					w.refused(err, api.Lost)
					if port := w.ledger.Ports.Value(lease); port != older {
						t.Errorf("the port lease became %+v", port)
					}
					return
				}
				answer, err := w.renew(c)
				if err != nil || len(answer.Claim.Ports) != 1 || answer.Claim.Ports[0].Fence != c.Ports[0].Fence {
					t.Fatalf("it has %+v after renewing, had %+v: %v", answer.Claim.Ports, c.Ports, err)
				}
				w.keeps(c, ledger.Claimed) // the agent reports its binding again
				if port := w.ledger.Ports.Value(lease); port.BlockedBy != older.BlockedBy {
					t.Errorf("it is blocked by %q, was by %q", port.BlockedBy, older.BlockedBy)
				}
			})
		}
	}
}

// TestHoldingYieldsToALaterRecord: a record that may belong to a later holder is not
// overwritten.
func TestHoldingYieldsToALaterRecord(t *testing.T) {
	for _, test := range []struct {
		name  string
		later ledger.Port
	}{
		{"a later generation is over", ledger.Port{State: ledger.Free, Epoch: "epoch-1", Generation: 2}},
		{"this generation is over", ledger.Port{State: ledger.Free, Epoch: "epoch-1", Generation: 1}},
		{"the lease was created again", ledger.Port{State: ledger.Free, Epoch: "another", Generation: 1}},
		{"another claim holds it", ledger.Port{State: ledger.Bound, Epoch: "epoch-1", Generation: 2, Holder: "claim-uid-other"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 1)
			c := w.bind("live", "10.0.0.1")
			later, lease := test.later, c.Ports[0].Fence.Lease
			later.LoadBalancerARN, later.ListenerPort = firstLB, listenerPort
			w.ledger.Ports.Recreate(lease, later)
			w.loseClaim("live")
			_, err := w.renew(c)
			w.refused(err, api.Lost)
			if got := w.ledger.Ports.Value(lease); got != later {
				t.Errorf("overwritten: %+v", got)
			}
		})
		t.Run(test.name+", its claim lease is there", func(t *testing.T) {
			w := newWorld(t, 1)
			c := w.bind("live", "10.0.0.1")
			later, f := test.later, c.Ports[0].Fence
			later.LoadBalancerARN, later.ListenerPort = firstLB, listenerPort
			w.ledger.Ports.Recreate(f.Lease, later)
			answer, err := w.renew(c)
			if got := w.ledger.Ports.Value(f.Lease); got.HeldBy(ledger.ClaimName("uid-live"), f) {
				t.Errorf("overwritten: %+v; the renewal was answered %+v, %v", got, answer.Claim.Ports, err)
			}
		})
	}
}
