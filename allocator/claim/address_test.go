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

// mustDeregister expects an answer that lets an agent only deregister its previous IP.
func (w *world) mustDeregister(c api.Claim, err error, former string) {
	w.Helper()
	if err != nil || c.PreviousIP != former || c.BindAfterSeconds == 0 {
		w.Fatalf("previous IP %q, bind after %v s, %v; want %s to be deregistered first", c.PreviousIP, c.BindAfterSeconds, err, former)
	}
}

// mayBind expects a claim that may be bound.
func (w *world) mayBind(c api.Claim, err error) {
	w.Helper()
	if err != nil || c.PreviousIP != "" || c.BindAfterSeconds != 0 {
		w.Fatalf("previous IP %q, bind after %v s, %v; want none of them", c.PreviousIP, c.BindAfterSeconds, err)
	}
}

// mustWait expects a pod at ipA to be told that another claim still records it.
func (w *world) mustWait(pod string) {
	w.Helper()
	_, err := w.claim(pod, ipA)
	w.refused(err, api.Pending)
}

// TestPreviousIPIsKeptUntilDeregistered gives a pod's previous IP to another pod at
// once. That pod waits until the first has deregistered it, even if the agent is
// killed or answers are lost in between.
func TestPreviousIPIsKeptUntilDeregistered(t *testing.T) {
	w := newWorld(t, 4)
	before := w.bind("mover", ipA)
	w.mustWait("heir")
	c, err := w.claim("mover", ipB)
	w.mustDeregister(c, err, ipA)
	if c.Ports[0].TargetGroupARN != before.Ports[0].TargetGroupARN || c.Ports[0].Fence != before.Ports[0].Fence {
		t.Errorf("it had %+v and has %+v", before.Ports[0], c.Ports[0])
	}
	w.mustWait("heir")

	// The agent was killed before it reported that, and starts again.
	c, err = w.claim("mover", ipB)
	w.mustDeregister(c, err, ipA)
	w.mustWait("heir")

	w.mayBind(w.claimDeregistered("mover", ipB, c.AddressChanges))
	w.mayBind(w.claimDeregistered("mover", ipB, c.AddressChanges)) // the answer was lost
	w.mayBind(w.claim("mover", ipB))                               // and the agent killed
	w.mayBind(w.claim("heir", ipA))
	if r := w.claimLease("mover").Value; r.PodIP != ipB || r.PreviousIP != "" {
		t.Errorf("the ledger has %s and %s", r.PodIP, r.PreviousIP)
	}
}

// TestPreviousIPOfAGonePodIsFree: nobody waits for the report of a pod that is gone.
func TestPreviousIPOfAGonePodIsFree(t *testing.T) {
	w := newWorld(t, 4)
	w.bind("mover", ipA)
	c, err := w.claim("mover", ipB)
	w.mustDeregister(c, err, ipA)
	w.mustWait("heir")
	delete(w.pods, "mover")
	w.mustWait("heir")
	w.unbind("mover")
	w.mayBind(w.claim("heir", ipA))
	if r := w.claimLease("mover").Value; r.State != ledger.ClaimReleasing {
		t.Errorf("the claim of the pod that is gone is %s", r.State)
	}
}

// TestPodIPReturnsBeforeItIsDeregistered: no other claim recorded it meanwhile, and
// the IP between was never a target.
func TestPodIPReturnsBeforeItIsDeregistered(t *testing.T) {
	w := newWorld(t, 4)
	w.bind("mover", ipA)
	c, err := w.claim("mover", ipB)
	w.mustDeregister(c, err, ipA)
	w.mayBind(w.claim("mover", ipA))
	w.mayBind(w.claim("other", ipB))
}

// TestPodIPReturnsAfterItWasDeregistered: the IP between is deregistered in its turn.
// The first report arrives late, when the first IP is a target again, and is ignored.
func TestPodIPReturnsAfterItWasDeregistered(t *testing.T) {
	w := newWorld(t, 4)
	w.bind("mover", ipA)
	first, err := w.claim("mover", ipB)
	w.mustDeregister(first, err, ipA)
	w.mayBind(w.claimDeregistered("mover", ipB, first.AddressChanges))
	back, err := w.claim("mover", ipA)
	w.mustDeregister(back, err, ipB)
	w.mayBind(w.claimDeregistered("mover", ipA, back.AddressChanges))
	again, err := w.claim("mover", ipB)
	w.mustDeregister(again, err, ipA)
	late, err := w.claimDeregistered("mover", ipB, first.AddressChanges)
	w.mustDeregister(late, err, ipA)
	w.mustWait("heir")
	w.mayBind(w.claimDeregistered("mover", ipB, again.AddressChanges))
	w.mayBind(w.claim("heir", ipA))
}

// TestPodIPThatWasNeverATargetIsNotKept moves a pod twice before it has deregistered
// its first IP. Only the first is kept.
func TestPodIPThatWasNeverATargetIsNotKept(t *testing.T) {
	w := newWorld(t, 4)
	w.bind("mover", ipA)
	c, err := w.claim("mover", ipB)
	w.mustDeregister(c, err, ipA)
	c, err = w.claim("mover", ipC)
	w.mustDeregister(c, err, ipA)
	w.mayBind(w.claim("other", ipB))
	w.mustWait("heir")
	w.mayBind(w.claimDeregistered("mover", ipC, c.AddressChanges))
	w.mayBind(w.claim("heir", ipA))

	w.cloud.ranges[0].To = listenerPort // none is left
	w.mustWait("homeless")
	for _, ip := range []string{"10.0.0.20", "10.0.0.21"} {
		_, err = w.claim("homeless", ip)
		w.refused(err, api.Exhausted)
	}
	if r := w.claimLease("homeless").Value; r.PreviousIP != "" {
		t.Errorf("a pod without ports keeps %s", r.PreviousIP)
	}
}

func TestPodsThatExchangeIPsDoNotWaitForEachOther(t *testing.T) {
	w := newWorld(t, 4)
	w.bind("one", ipA)
	w.bind("two", ipB)
	one, err := w.claim("one", ipB)
	w.mustDeregister(one, err, ipA)
	two, err := w.claim("two", ipA)
	w.mustDeregister(two, err, ipB)
	_, err = w.claimDeregistered("one", ipB, one.AddressChanges)
	w.refused(err, api.Pending)
	w.mayBind(w.claimDeregistered("two", ipA, two.AddressChanges))
	w.mayBind(w.claim("one", ipB))
}

// TestAdoptedClaimKeepsPreviousIP: the claim lease was lost and adopted, which confirms
// the pod IP too.
func TestAdoptedClaimKeepsPreviousIP(t *testing.T) {
	w := newWorld(t, 4)
	c := w.bind("mover", ipA)
	w.loseClaim("mover")
	if _, err := w.renew(c); err != nil {
		t.Fatal(err)
	}
	moved, err := w.claim("mover", ipB)
	w.mustDeregister(moved, err, ipA)
	w.mustWait("heir")
}

// TestClaimThatLostItsPortsKeepsNoPreviousIP: no port of it is bound any more, so its
// agent has nothing to deregister.
func TestClaimThatLostItsPortsKeepsNoPreviousIP(t *testing.T) {
	w := newWorld(t, 1)
	c := w.bind("mover", ipA)
	moved, err := w.claim("mover", ipB)
	w.mustDeregister(moved, err, ipA)
	w.foreignPort(c)
	_, err = w.claim("mover", ipB)
	w.refused(err, api.Exhausted)
	if r := w.claimLease("mover").Value; r.PreviousIP != "" || len(r.Ports) > 0 {
		t.Errorf("it has ports %v and previous IP %s", r.Ports, r.PreviousIP)
	}
}

// foreignPort gives the port of a claim to another holder, as a restored backup may.
func (w *world) foreignPort(c api.Claim) {
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
