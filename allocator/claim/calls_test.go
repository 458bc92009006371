package claim_test

import (
	"context"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/ledger/ledgertest"
	"github.com/portlease/portlease/shared/api"
)

// A pod's start waits for each of these calls, one after another. So nothing is read
// that a write can try, and nothing is written that another write can carry.
func TestFirstClaimTakesFourWritesAndNoRead(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if w.claims.Reads != 0 || w.claims.Writes != 3 || w.ports.Reads != 0 || w.ports.Writes != 1 {
		t.Errorf("claims: %d reads, %d writes (begun, planned, granted); ports: %d reads, %d writes (taken)",
			w.claims.Reads, w.claims.Writes, w.ports.Reads, w.ports.Writes)
	}
	if r := w.claimLease("a").Value; r.ConfirmedIP != "10.0.0.1" {
		t.Errorf("address %q is settled", r.ConfirmedIP)
	}
	w.ports.Reads = 0
	report := api.TargetGroupRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence, TargetGroupARN: targetGroupARN(c.Ports[0])}
	if err := w.service.TargetGroup(t.Context(), holderOf("a"), report); err != nil || w.ports.Reads != 0 {
		t.Errorf("a report reads %d ports, %v", w.ports.Reads, err)
	}
}

// meanwhile is a table of claims in which something happens before the first change,
// or after some.
type meanwhile struct {
	ledgertest.Claims
	after int
	does  func()
}

func (m *meanwhile) Update(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	if m.after--; m.after == -1 {
		m.does()
	}
	return m.Claims.Update(ctx, r)
}

// rewrite is another writer of pod a's claim.
func (w *ledgerWorld) rewrite(change func(ledger.Claim) ledger.Claim) {
	row := w.claims.Rows["claim-uid-a"]
	row.Value = change(row.Value)
	w.claims.Write(row)
}

// TestConfirmationAfterAConflict: the plan that carries the word of it
// lost to another write. A claim that is not settled is left out of audits. One that
// was elsewhere meanwhile may have been taken for gone there by another pod, and is
// granted nothing before it is settled anew.
func TestConfirmationAfterAConflict(t *testing.T) {
	for _, test := range []struct {
		name string
		does func(*ledgerWorld)
		anew bool
	}{
		{"a renewal", func(w *ledgerWorld) { w.rewrite(func(c ledger.Claim) ledger.Claim { return c }) }, false},
		{"away and back", func(w *ledgerWorld) {
			w.rewrite(func(c ledger.Claim) ledger.Claim { return c.MovedTo("10.0.0.9").MovedTo("10.0.0.1") })
		}, true},
		{"begun anew", func(w *ledgerWorld) { w.claims.Recreate(w.T, "claim-uid-a", w.claims.Rows["claim-uid-a"].Value) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 2)
			w.service.Claims = &meanwhile{Claims: w.claims, does: func() { test.does(w) }}
			_, err := w.claim("a", "10.0.0.1")
			if test.anew {
				w.refused(err, api.Pending)
				_, err = w.claim("a", "10.0.0.1")
			}
			if err != nil {
				t.Fatal(err)
			}
			if r := w.claimLease("a").Value; r.State != ledger.Granted || r.PodIP != "10.0.0.1" || r.ConfirmedIP != r.PodIP {
				t.Errorf("the claim is %s, with address %q settled of %s", r.State, r.ConfirmedIP, r.PodIP)
			}
		})
	}
}

// TestConfirmedIPIsNotUnconfirmed when the write that says so comes in between.
func TestConfirmedIPIsNotUnconfirmed(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c := w.bind("a", "10.0.0.1")
	w.rewrite(func(c ledger.Claim) ledger.Claim { c.ConfirmedIP = ""; return c })
	rivals := w.ports.Rows[c.Ports[0].Fence.Lease].Value
	rivals.Holder = "claim-uid-rival"
	w.ports.Recreate(t, c.Ports[0].Fence.Lease, rivals)
	w.service.Claims = &meanwhile{Claims: w.claims, after: 1, does: func() {
		w.rewrite(func(c ledger.Claim) ledger.Claim { c.ConfirmedIP = c.PodIP; return c })
	}}
	if _, err := w.renew(c); err != nil {
		t.Fatal(err)
	}
	if r := w.claimLease("a").Value; r.State != ledger.Granted || r.ConfirmedIP != r.PodIP {
		t.Errorf("the claim is %s, with address %q settled of %s", r.State, r.ConfirmedIP, r.PodIP)
	}
}

// TestMovedPodIPIsConfirmed where it is.
func TestMovedPodIPIsConfirmed(t *testing.T) {
	w := newLedgerWorld(t, 2)
	w.bind("a", "10.0.0.1")
	if err := w.move("a", "10.0.0.9"); err != nil {
		t.Fatal(err)
	}
	if r := w.claimLease("a").Value; r.PodIP != "10.0.0.9" || r.ConfirmedIP != r.PodIP {
		t.Errorf("address %q is settled of %s", r.ConfirmedIP, r.PodIP)
	}
}
