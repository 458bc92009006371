package claim_test

import (
	"context"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// A pod's start waits for each of these calls, one after another. So a write is tried
// without a read before it, and carries as much as possible.
func TestFirstClaimTakesThreeWritesAndNoRead(t *testing.T) {
	w := newWorld(t, 2)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	claims, ports := w.ledger.Claims, w.ledger.Ports
	if claims.Reads() != 0 || claims.Writes() != 2 || ports.Reads() != 0 || ports.Writes() != 1 {
		t.Errorf("claims: %d reads, %d writes (created with its plan, granted); ports: %d reads, %d writes (taken)",
			claims.Reads(), claims.Writes(), ports.Reads(), ports.Writes())
	}
	if r := w.claimLease("a").Value; r.ConfirmedIP != "10.0.0.1" {
		t.Errorf("pod IP %q is confirmed", r.ConfirmedIP)
	}
	report := api.TargetGroupRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence, TargetGroupARN: targetGroupARN(c.Ports[0])}
	if err := w.service.TargetGroup(t.Context(), holderOf("a"), report); err != nil || ports.Reads() != 0 {
		t.Errorf("a report reads %d ports, %v", ports.Reads(), err)
	}
}

// meanwhile is a table of claims in which something happens before an update.
type meanwhile struct {
	ledgermem.ClaimTable
	after int
	does  func()
}

func (m *meanwhile) Update(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	if m.after--; m.after == -1 {
		m.does()
	}
	return m.ClaimTable.Update(ctx, r)
}

// rewrite is another writer of pod a's claim.
func (w *world) rewrite(change func(*ledger.Claim)) { w.ledger.Claims.Change("claim-uid-a", change) }

// TestConfirmationAfterAConflict: the plan that records the confirmation lost to
// another write. Audits leave out a claim whose pod IP is not confirmed. If the pod
// was elsewhere meanwhile, another pod may have claimed with its IP: the claim is
// granted nothing before the IP is confirmed again.
func TestConfirmationAfterAConflict(t *testing.T) {
	for _, test := range []struct {
		name           string
		does           func(*world)
		confirmedAgain bool
	}{
		{"a renewal", func(w *world) { w.rewrite(func(*ledger.Claim) {}) }, false},
		{"away and back", func(w *world) {
			w.rewrite(func(c *ledger.Claim) { *c = c.MovedTo("10.0.0.9").MovedTo("10.0.0.1") })
		}, true},
		{"created again", func(w *world) { w.ledger.Claims.Recreate("claim-uid-a", w.ledger.Claims.Value("claim-uid-a")) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.service.Claims = &meanwhile{ClaimTable: w.claims, does: func() { test.does(w) }}
			_, err := w.claim("a", "10.0.0.1")
			if test.confirmedAgain {
				w.refused(err, api.Pending)
				_, err = w.claim("a", "10.0.0.1")
			}
			if err != nil {
				t.Fatal(err)
			}
			if r := w.claimLease("a").Value; r.State != ledger.Granted || r.PodIP != "10.0.0.1" || r.ConfirmedIP != r.PodIP {
				t.Errorf("the claim is %s, with pod IP %q confirmed of %s", r.State, r.ConfirmedIP, r.PodIP)
			}
		})
	}
}

// TestConfirmedIPIsNotUnconfirmed: another replica confirms the pod IP between the
// reading and the writing of a claim.
func TestConfirmedIPIsNotUnconfirmed(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("a", "10.0.0.1")
	w.rewrite(func(c *ledger.Claim) { c.ConfirmedIP = "" })
	rivals := w.ledger.Ports.Value(c.Ports[0].Fence.Lease)
	rivals.Holder = "claim-uid-rival"
	w.ledger.Ports.Recreate(c.Ports[0].Fence.Lease, rivals)
	w.service.Claims = &meanwhile{ClaimTable: w.claims, after: 1, does: func() {
		w.rewrite(func(c *ledger.Claim) { c.ConfirmedIP = c.PodIP })
	}}
	if _, err := w.renew(c); err != nil {
		t.Fatal(err)
	}
	if r := w.claimLease("a").Value; r.State != ledger.Granted || r.ConfirmedIP != r.PodIP {
		t.Errorf("the claim is %s, with pod IP %q confirmed of %s", r.State, r.ConfirmedIP, r.PodIP)
	}
}

func TestMovedPodIPIsConfirmed(t *testing.T) {
	w := newWorld(t, 2)
	w.bind("a", "10.0.0.1")
	if err := w.move("a", "10.0.0.9"); err != nil {
		t.Fatal(err)
	}
	if r := w.claimLease("a").Value; r.PodIP != "10.0.0.9" || r.ConfirmedIP != r.PodIP {
		t.Errorf("pod IP %q is confirmed of %s", r.ConfirmedIP, r.PodIP)
	}
}
