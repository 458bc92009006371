package claim_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// An old claim is released in part, another claim has its first port, and then that port's
// lease is lost. The janitor restores it for the old claim, because the ledger says nothing of the
// other. The next holder must not get the fence of that one: their target groups would have
// the same name.
func TestPortRestoredForAnOldHoldingStartsANewEpoch(t *testing.T) {
	w := newWorld(t, 2)
	old, err := w.claim("old", "10.0.0.1", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	lease := old.Ports[0].Fence.Lease
	w.ledger.Claims.Change(ledger.ClaimName(old.PodUID), func(c *ledger.Claim) { c.State = ledger.ClaimReleasing })
	w.ledger.Ports.Change(lease, func(p *ledger.Port) { p.State, p.Holder = ledger.Free, "" })
	second, err := w.claim("second", "10.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	if second.Ports[0].Fence.Lease != lease || second.Ports[0].Fence.Generation != 2 {
		t.Fatalf("the second claim has %+v", second.Ports[0].Fence)
	}
	w.ledger.Ports.Remove(lease)
	for range 10 {
		w.sweepFor(30 * time.Second)
	}
	if p := w.ledger.Ports.Value(lease); p.State != ledger.Free || p.Epoch != old.Ports[0].Fence.Epoch {
		t.Fatalf("the port is %+v", p)
	}
	third, err := w.claim("third", "10.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	if f := third.Ports[0].Fence; f.Lease != lease || f == second.Ports[0].Fence || f.Epoch == old.Ports[0].Fence.Epoch {
		t.Errorf("the third claim has %+v, the second had %+v", f, second.Ports[0].Fence)
	}
}

func TestPortRestoredForItsHolderStartsANewEpochAfterIt(t *testing.T) {
	w := newWorld(t, 1)
	first, err := w.claim("first", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	lease := first.Ports[0].Fence.Lease
	w.ledger.Ports.Remove(lease)
	if _, err := w.renew(first); err != nil {
		t.Fatal(err)
	}
	if f := w.ledger.Ports.Value(lease).Fence(lease); f != first.Ports[0].Fence {
		t.Fatalf("it was restored as %+v", f)
	}
	w.release(first, true)
	for range 10 {
		w.sweepFor(30 * time.Second)
	}
	second, err := w.claim("second", "10.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	if f := second.Ports[0].Fence; f.Epoch == first.Ports[0].Fence.Epoch || f.Generation != 2 {
		t.Errorf("the next claim has %+v, the first had %+v", f, first.Ports[0].Fence)
	}
}
