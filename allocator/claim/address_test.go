package claim_test

import (
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

const (
	ipA = "10.0.0.8"
	ipB = "10.0.0.9"
	ipC = "10.0.0.10"
)

// unvacated wants an answer that lets an agent deregister its former address and
// nothing else.
func (w *ledgerWorld) unvacated(c api.Claim, err error, former string) {
	w.Helper()
	if err != nil || c.PreviousIP != former || c.BindAfterSeconds == 0 {
		w.Fatalf("former address %q, bind after %v s, %v; want %s to be vacated first", c.PreviousIP, c.BindAfterSeconds, err, former)
	}
}

// settled wants a claim that may be bound at its address.
func (w *ledgerWorld) settled(c api.Claim, err error) {
	w.Helper()
	if err != nil || c.PreviousIP != "" || c.BindAfterSeconds != 0 {
		w.Fatalf("former address %q, bind after %v s, %v; want none of them", c.PreviousIP, c.BindAfterSeconds, err)
	}
}

// waits wants a pod at ipA to be told that this is another's still.
func (w *ledgerWorld) waits(pod string) {
	w.Helper()
	_, err := w.claim(pod, ipA)
	w.refused(err, api.Pending)
}

// TestPreviousIPIsKeptUntilDeregistered gives a pod's former address to
// another pod at once: that one waits until the first has deregistered it,
// whatever becomes of the agent and the answers in between.
func TestPreviousIPIsKeptUntilDeregistered(t *testing.T) {
	w := newLedgerWorld(t, 4)
	before := w.bind("mover", ipA)
	w.waits("heir")
	c, err := w.claim("mover", ipB)
	w.unvacated(c, err, ipA)
	if c.Ports[0].TargetGroupARN != before.Ports[0].TargetGroupARN || c.Ports[0].Fence != before.Ports[0].Fence {
		t.Errorf("it had %+v and has %+v", before.Ports[0], c.Ports[0])
	}
	w.waits("heir")

	// The agent was killed before it said so, and starts again.
	c, err = w.claim("mover", ipB)
	w.unvacated(c, err, ipA)
	w.waits("heir")

	w.settled(w.vacated("mover", ipB, c.AddressChanges))
	w.settled(w.vacated("mover", ipB, c.AddressChanges)) // the answer was lost
	w.settled(w.claim("mover", ipB))                     // and the agent killed
	w.settled(w.claim("heir", ipA))
	if r := w.claimLease("mover").Value; r.PodIP != ipB || r.PreviousIP != "" {
		t.Errorf("the ledger has %s and %s", r.PodIP, r.PreviousIP)
	}
}

// TestPreviousIPOfAGonePodIsFree: nobody waits for the word of a pod that is
// gone.
func TestPreviousIPOfAGonePodIsFree(t *testing.T) {
	w := newLedgerWorld(t, 4)
	w.bind("mover", ipA)
	c, err := w.claim("mover", ipB)
	w.unvacated(c, err, ipA)
	w.waits("heir")
	delete(w.pods, "mover")
	w.settled(w.claim("heir", ipA))
	if r := w.claimLease("mover").Value; r.State != ledger.ClaimReleasing {
		t.Errorf("the claim of the pod that is gone is %s", r.State)
	}
}

// TestPodIPReturnsBeforeItIsDeregistered: all the while it was nobody else's, and
// the address between was never a target.
func TestPodIPReturnsBeforeItIsDeregistered(t *testing.T) {
	w := newLedgerWorld(t, 4)
	w.bind("mover", ipA)
	c, err := w.claim("mover", ipB)
	w.unvacated(c, err, ipA)
	w.settled(w.claim("mover", ipA))
	w.settled(w.claim("other", ipB))
}

// TestPodIPReturnsAfterItWasDeregistered has the address between vacated in its
// turn. What the first agent had to say of the first address comes late, when
// that is a target again, and counts for nothing.
func TestPodIPReturnsAfterItWasDeregistered(t *testing.T) {
	w := newLedgerWorld(t, 4)
	w.bind("mover", ipA)
	first, err := w.claim("mover", ipB)
	w.unvacated(first, err, ipA)
	w.settled(w.vacated("mover", ipB, first.AddressChanges))
	back, err := w.claim("mover", ipA)
	w.unvacated(back, err, ipB)
	w.settled(w.vacated("mover", ipA, back.AddressChanges))
	again, err := w.claim("mover", ipB)
	w.unvacated(again, err, ipA)
	late, err := w.vacated("mover", ipB, first.AddressChanges)
	w.unvacated(late, err, ipA)
	w.waits("heir")
	w.settled(w.vacated("mover", ipB, again.AddressChanges))
	w.settled(w.claim("heir", ipA))
}

// TestPodIPThatWasNeverATargetIsNotKept moves a pod on before it could vacate
// its first address: only that one is kept.
func TestPodIPThatWasNeverATargetIsNotKept(t *testing.T) {
	w := newLedgerWorld(t, 4)
	w.bind("mover", ipA)
	c, err := w.claim("mover", ipB)
	w.unvacated(c, err, ipA)
	c, err = w.claim("mover", ipC)
	w.unvacated(c, err, ipA)
	w.settled(w.claim("other", ipB))
	w.waits("heir")
	w.settled(w.vacated("mover", ipC, c.AddressChanges))
	w.settled(w.claim("heir", ipA))

	w.cloud.ranges[0].To = listenerPort // none is left
	w.waits("homeless")
	for _, ip := range []string{"10.0.0.20", "10.0.0.21"} {
		_, err = w.claim("homeless", ip)
		w.refused(err, api.Exhausted)
	}
	if r := w.claimLease("homeless").Value; r.PreviousIP != "" {
		t.Errorf("a pod without ports keeps %s", r.PreviousIP)
	}
}

// TestPodsThatExchangeIPsDoNotWaitForEachOther do not wait for each other.
func TestPodsThatExchangeIPsDoNotWaitForEachOther(t *testing.T) {
	w := newLedgerWorld(t, 4)
	w.bind("one", ipA)
	w.bind("two", ipB)
	one, err := w.claim("one", ipB)
	w.unvacated(one, err, ipA)
	two, err := w.claim("two", ipA)
	w.unvacated(two, err, ipB)
	_, err = w.vacated("one", ipB, one.AddressChanges)
	w.refused(err, api.Pending)
	w.settled(w.vacated("two", ipA, two.AddressChanges))
	w.settled(w.claim("one", ipB))
}

// TestAdoptedClaimKeepsPreviousIP: the ledger forgot the claim and took
// it up again, which settles its address too.
func TestAdoptedClaimKeepsPreviousIP(t *testing.T) {
	w := newLedgerWorld(t, 4)
	c := w.bind("mover", ipA)
	w.loseClaim("mover")
	if _, err := w.renew(c); err != nil {
		t.Fatal(err)
	}
	moved, err := w.claim("mover", ipB)
	w.unvacated(moved, err, ipA)
	w.waits("heir")
}

// TestClaimThatLostItsPortsKeepsNoPreviousIP: nothing of it is bound any more,
// and there is nothing that its agent could vacate.
func TestClaimThatLostItsPortsKeepsNoPreviousIP(t *testing.T) {
	w := newLedgerWorld(t, 1)
	c := w.bind("mover", ipA)
	moved, err := w.claim("mover", ipB)
	w.unvacated(moved, err, ipA)
	w.foreignPort(c)
	_, err = w.claim("mover", ipB)
	w.refused(err, api.Exhausted)
	if r := w.claimLease("mover").Value; r.PreviousIP != "" || len(r.Ports) > 0 {
		t.Errorf("it has ports %v and former address %s", r.Ports, r.PreviousIP)
	}
}

// foreignPort gives the port of a claim to another holder, as a backup that was
// put back may.
func (w *ledgerWorld) foreignPort(c api.Claim) {
	w.Helper()
	r, err := w.ports.Get(w.Context(), c.Ports[0].Fence.Lease)
	if err != nil {
		w.Fatal(err)
	}
	r.Value.Holder, r.Value.Generation = "claim-another", r.Value.Generation+1
	if _, err := w.ports.Update(w.Context(), r); err != nil {
		w.Fatal(err)
	}
}
