package claim_test

import (
	"fmt"
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

// TestHoldingReplacesAnOlderRecord replaces a live pod's port lease by an older record:
// an admin restored a backup, or blocked the port after its lease had been deleted.
// Nobody holds that record, so the holder's next renewal restores the lease. A block
// stays.
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
				// Without its claim the holding comes from what the agent presents,
				// which says that it is bound; otherwise the agent reports it again.
				want := ledger.Claimed
				if claimToo {
					want = ledger.Bound
					w.loseClaim("live")
				}
				answer, err := w.renew(c)
				if err != nil || len(answer.Claim.Ports) != 1 || answer.Claim.Ports[0].Fence != c.Ports[0].Fence {
					t.Fatalf("it has %+v after renewing, had %+v: %v", answer.Claim.Ports, c.Ports, err)
				}
				w.keeps(c, want)
				port := w.ledger.Ports.Value(lease)
				if port.BlockedBy != older.BlockedBy {
					t.Errorf("it is blocked by %q, was by %q", port.BlockedBy, older.BlockedBy)
				}
				if claimToo && (port.TargetGroupARN != c.Ports[0].TargetGroupARN || port.ListenerARN != c.Ports[0].ListenerARN) {
					t.Errorf("its binding is not recorded: %+v", port)
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
	}
}
