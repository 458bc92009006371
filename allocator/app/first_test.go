package app_test

import (
	"context"
	"errors"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// A pod's start waits for each of these calls, one after another. So nothing is read
// that a write can try, and nothing is written that another write can carry.
func TestAFirstClaimIsFourWrites(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if w.claims.reads != 0 || w.claims.writes != 3 || w.ports.reads != 0 || w.ports.writes != 1 {
		t.Errorf("claims: %d reads, %d writes (begun, planned, granted); ports: %d reads, %d writes (taken)",
			w.claims.reads, w.claims.writes, w.ports.reads, w.ports.writes)
	}
	if r := w.claimLease("a").Value; r.SettledIP != "10.0.0.1" {
		t.Errorf("address %q is settled", r.SettledIP)
	}
	w.ports.reads = 0
	report := api.TargetGroupRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence, TargetGroupARN: targetGroupARN(c.Ports[0])}
	if err := w.service.TargetGroup(t.Context(), holderOf("a"), report); err != nil || w.ports.reads != 0 {
		t.Errorf("a report reads %d ports, %v", w.ports.reads, err)
	}
}

// TestALateViewRefusesNothing: what is refused has been read. An agent that is told
// that its port is lost gives it up.
func TestALateViewRefusesNothing(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p := c.Ports[0]
	old := w.ports.rows[p.Fence.Lease]
	old.Version, old.Value.State, old.Value.Holder, old.Value.Generation = "before", ledger.Free, "", 0
	w.ports.behind = map[string]ledger.Record[ledger.Port]{old.Name: old}
	report := api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: targetGroupARN(p)}
	if err := w.service.TargetGroup(t.Context(), holderOf("a"), report); err != nil {
		t.Error(err)
	}
	if got := w.ports.rows[p.Fence.Lease].Value.TargetGroupARN; got != report.TargetGroupARN {
		t.Errorf("target group %q is recorded", got)
	}
}

// unreachable is a table of ports that nothing can be written to.
type unreachable struct{ *ledgerTable[ledger.Port] }

func (unreachable) Update(_ context.Context, r ledger.Record[ledger.Port]) (ledger.Record[ledger.Port], error) {
	return r, errors.New("unreachable")
}

// TestALateViewGivesUpNoPlan: the replica that planned was cut off, and the view of
// the next one shows the planned port as it was several holders ago.
func TestALateViewGivesUpNoPlan(t *testing.T) {
	w := newLedgerWorld(t, 2)
	for n := range 2 {
		name := ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort+n)
		w.ports.exchange(t, name, ledger.Port{LoadBalancerARN: firstLB, ListenerPort: listenerPort + n, State: ledger.Free, Epoch: "e", Generation: 3})
	}
	w.service.Ports = unreachable{w.ports}
	_, err := w.claim("a", "10.0.0.1")
	w.refused(err, api.Unavailable)
	planned := w.claimLease("a").Value.Ports[0]
	w.service.Ports = w.ports
	old := w.ports.rows[planned.Fence.Lease]
	old.Version, old.Value.Generation = "before", 1
	w.ports.behind = map[string]ledger.Record[ledger.Port]{old.Name: old}
	c, err := w.claim("a", "10.0.0.1")
	if err != nil || c.Ports[0].Fence != planned.Fence {
		t.Errorf("planned was %+v, granted is %+v, %v", planned.Fence, c.Ports, err)
	}
}

// meanwhile is a table of claims in which somebody else writes before the first
// change, or after some.
type meanwhile struct {
	claimTable
	after   int
	changes func(ledger.Claim) ledger.Claim
}

func (m *meanwhile) Update(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	if m.after--; m.after == -1 {
		row := m.rows[r.Name]
		row.Value = m.changes(row.Value)
		m.write(row)
	}
	return m.claimTable.Update(ctx, r)
}

// TestWhetherAnAddressIsSettledAfterALostWrite: the plan that carries the word of it
// lost to another write. A claim that is not settled is left out of audits; one that
// was elsewhere meanwhile may have been taken for gone there by another pod.
func TestWhetherAnAddressIsSettledAfterALostWrite(t *testing.T) {
	for _, test := range []struct {
		name    string
		changes func(ledger.Claim) ledger.Claim
		settled string
	}{
		{"a renewal", func(c ledger.Claim) ledger.Claim { return c }, "10.0.0.1"},
		{"away and back", func(c ledger.Claim) ledger.Claim { return c.MovedTo("10.0.0.9").MovedTo("10.0.0.1") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 2)
			w.service.Claims = &meanwhile{claimTable: w.claims, changes: test.changes}
			if _, err := w.claim("a", "10.0.0.1"); err != nil {
				t.Fatal(err)
			}
			if r := w.claimLease("a").Value; r.State != ledger.Granted || r.PodIP != "10.0.0.1" || r.SettledIP != test.settled {
				t.Errorf("the claim is %s, with address %q settled of %s", r.State, r.SettledIP, r.PodIP)
			}
		})
	}
}

// TestASettledAddressStaysSettled when the write that says so comes in between.
func TestASettledAddressStaysSettled(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c := w.bind("a", "10.0.0.1")
	row := w.claims.rows["claim-uid-a"]
	row.Value.SettledIP = ""
	w.claims.write(row)
	rivals := w.ports.rows[c.Ports[0].Fence.Lease].Value
	rivals.Holder = "claim-uid-rival"
	w.ports.exchange(t, c.Ports[0].Fence.Lease, rivals)
	settles := func(c ledger.Claim) ledger.Claim { c.SettledIP = c.PodIP; return c }
	w.service.Claims = &meanwhile{claimTable: w.claims, after: 1, changes: settles}
	if _, err := w.renew(c); err != nil {
		t.Fatal(err)
	}
	if r := w.claimLease("a").Value; r.State != ledger.Granted || r.SettledIP != r.PodIP {
		t.Errorf("the claim is %s, with address %q settled of %s", r.State, r.SettledIP, r.PodIP)
	}
}
