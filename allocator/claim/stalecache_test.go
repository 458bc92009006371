package claim_test

import (
	"context"
	"errors"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// TestStaleCacheDoesNotRefuse: an agent that is told that its port is lost gives it
// up, so a refusal is based on a fresh read.
func TestStaleCacheDoesNotRefuse(t *testing.T) {
	w := newWorld(t, 2)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p := c.Ports[0]
	w.stalePort(p.Fence.Lease, func(p *ledger.Port) { p.State, p.Holder, p.Generation = ledger.Free, "", 0 })
	report := api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: targetGroupARN(p)}
	if err := w.service.TargetGroup(t.Context(), holderOf("a"), report); err != nil {
		t.Error(err)
	}
	if got := w.ledger.Ports.Value(p.Fence.Lease).TargetGroupARN; got != report.TargetGroupARN {
		t.Errorf("target group %q is recorded", got)
	}
}

// unreachable is a table of ports that cannot be written to.
type unreachable struct{ *ledgermem.Table[ledger.Port] }

func (unreachable) Update(_ context.Context, r ledger.Record[ledger.Port]) (ledger.Record[ledger.Port], error) {
	return r, errors.New("unreachable")
}

// TestStaleCacheDoesNotGiveUpAPlan: the replica that planned was cut off, and the cache
// of the next replica has the planned port as it was several holders ago.
func TestStaleCacheDoesNotGiveUpAPlan(t *testing.T) {
	w := newWorld(t, 2)
	w.freePorts(2)
	w.service.Ports = unreachable{w.ports}
	_, err := w.claim("a", "10.0.0.1")
	w.refused(err, api.Unavailable)
	planned := w.claimLease("a").Value.Ports[0]
	w.service.Ports = w.ports
	w.stalePort(planned.Fence.Lease, func(p *ledger.Port) { p.Generation = 1 })
	c, err := w.claim("a", "10.0.0.1")
	if err != nil || c.Ports[0].Fence != planned.Fence {
		t.Errorf("planned was %+v, granted is %+v, %v", planned.Fence, c.Ports, err)
	}
}

// ungranted is a table of claims in which nothing is ever granted.
type ungranted struct{ ledgermem.ClaimTable }

func (u ungranted) Update(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	if r.Value.State == ledger.Granted {
		return r, errors.New("unreachable")
	}
	return u.ClaimTable.Update(ctx, r)
}

// TestStaleCacheDoesNotGrant: the cache shows a port as the claim's that a rival holds
// by now. Only a write proves whose it is.
func TestStaleCacheDoesNotGrant(t *testing.T) {
	w := newWorld(t, 2)
	w.service.Claims = ungranted{w.claims}
	_, err := w.claim("a", "10.0.0.1")
	w.refused(err, api.Unavailable)
	w.service.Claims = w.claims
	lease := w.claimLease("a").Value.Ports[0].Fence.Lease
	old, _ := w.ledger.Ports.Row(lease)
	rivals := old.Value
	rivals.Holder, rivals.Epoch = "claim-uid-rival", "rivals"
	w.ledger.Ports.Recreate(lease, rivals)
	w.ports.Show(old)
	c, err := w.claim("a", "10.0.0.1")
	if err != nil || c.Ports[0].Fence.Lease == lease {
		t.Errorf("it is granted %+v, %v", c.Ports, err)
	}
}

// TestStaleCacheDoesNotDropAReport: the cache shows a port as bound that an audit has
// found damaged since. The report of its repair must not be dropped.
func TestStaleCacheDoesNotDropAReport(t *testing.T) {
	w := newWorld(t, 1)
	c := w.bind("a", "10.0.0.1")
	p := c.Ports[0]
	bound, _ := w.ledger.Ports.Row(p.Fence.Lease)
	w.ledger.Ports.Change(p.Fence.Lease, func(p *ledger.Port) { p.State = ledger.Claimed })
	w.ports.Show(bound)
	report := api.BoundRequest{ClaimUID: c.UID, Fence: p.Fence, ListenerARN: p.ListenerARN}
	if err := w.service.Bound(t.Context(), holderOf("a"), report); err != nil {
		t.Fatal(err)
	}
	w.keeps(c, ledger.Bound)
}

// TestPlannedPortThatCannotBeTakenIsReplaced: after the plan its lease is deleted,
// damaged or blocked.
func TestPlannedPortThatCannotBeTakenIsReplaced(t *testing.T) {
	for name, damage := range map[string]func(*world, string){
		"deleted":    func(w *world, lease string) { w.ledger.Ports.Remove(lease) },
		"unreadable": func(w *world, lease string) { w.ledger.Ports.Damage(lease); w.ports.Hide(lease) },
		"blocked, and the cache shows it free": func(w *world, lease string) {
			free, _ := w.ledger.Ports.Row(lease)
			w.ledger.Ports.Change(lease, func(p *ledger.Port) { p.BlockedBy, p.State = "alice: flood", ledger.Blocked })
			w.ports.Show(free)
		},
		"blocked but free": func(w *world, lease string) {
			w.ledger.Ports.Change(lease, func(p *ledger.Port) { p.BlockedBy = "alice: flood" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.freePorts(2)
			w.service.Ports = unreachable{w.ports}
			_, err := w.claim("a", "10.0.0.1")
			w.refused(err, api.Unavailable)
			planned := w.claimLease("a").Value.Ports[0].Fence
			w.service.Ports = w.ports
			damage(w, planned.Lease)
			c, err := w.claim("a", "10.0.0.1")
			if err != nil || c.Ports[0].Fence == planned {
				t.Errorf("planned was %+v, granted is %+v, %v", planned, c.Ports, err)
			}
		})
	}
}

// TestAnswerHasTheRecordedBinding: without it the agent would create the target group
// again.
func TestAnswerHasTheRecordedBinding(t *testing.T) {
	w := newWorld(t, 2)
	before := w.bind("a", "10.0.0.1")
	w.rewrite(func(c *ledger.Claim) { c.State = ledger.Waiting }) // planned again with the ports it has
	c, err := w.claim("a", "10.0.0.1")
	if err != nil || c.Ports[0].TargetGroupARN != before.Ports[0].TargetGroupARN {
		t.Errorf("it is granted %+v, %v", c.Ports, err)
	}
}
