package claim_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// TestRecreatedClaimKeepsItsPorts deletes the claim lease of a live pod whose
// agent starts again, while something keeps the claim from being planned at once.
// Until then its ports must not count as given up.
func TestRecreatedClaimKeepsItsPorts(t *testing.T) {
	noneRead := func(w *ledgerWorld) { w.cloud.read = nil }
	allRead := func(w *ledgerWorld) { w.cloud.read = []string{firstLB, secondLB} }
	for _, test := range []struct {
		name           string
		state          ledger.PortState
		hinder, better func(*ledgerWorld)
	}{
		{"no load balancer has been read", ledger.Bound, noneRead, allRead},
		{"only another load balancer has been read", ledger.Bound, func(w *ledgerWorld) { w.cloud.read = []string{secondLB} }, allRead},
		{"its target group is not recorded yet", ledger.Claimed, noneRead, allRead},
		{
			"its address is still another's", ledger.Bound,
			func(w *ledgerWorld) {
				w.pods["former"] = &ledger.Pod{UID: "uid-former", IPs: []string{"10.0.0.1"}}
				w.claims.Recreate(w.T, "claim-uid-former", ledger.Claim{
					Namespace: "games", Pod: "former", PodUID: "uid-former", PodIP: "10.0.0.1", State: ledger.Granted, Pool: "default", Duration: claimDuration,
				})
			},
			func(w *ledgerWorld) { delete(w.pods, "former") },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 4)
			var c api.Claim
			if test.state == ledger.Bound {
				c = w.bind("live", "10.0.0.1")
			} else if granted, err := w.claim("live", "10.0.0.1"); err != nil {
				t.Fatal(err)
			} else {
				c = granted
			}
			w.loseClaim("live")
			test.hinder(w)
			_, err := w.claim("live", "10.0.0.1")
			w.refused(err, api.Pending)
			w.sweepFor(2 * claimDuration)
			w.keeps(c, test.state)
			test.better(w)
			again, err := w.claim("live", "10.0.0.1")
			if err != nil || len(again.Ports) != 1 || again.Ports[0].Fence != c.Ports[0].Fence {
				t.Errorf("it claims %+v anew, had %+v: %v", again.Ports, c.Ports, err)
			}
			w.sweepFor(claimDuration / 8)
			w.keeps(c, test.state)
		})
	}
}

// TestRecreatedClaimOfAGonePodKeepsNoPort is the other side: a claim begun
// anew holds its former port only as long as its pod lives.
func TestRecreatedClaimOfAGonePodKeepsNoPort(t *testing.T) {
	w := newLedgerWorld(t, 1)
	c, err := w.claim("gone", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	w.loseClaim("gone")
	w.cloud.read = nil
	_, err = w.claim("gone", "10.0.0.1")
	w.refused(err, api.Pending)
	delete(w.pods, "gone")
	w.sweepFor(claimDuration)
	w.sweepFor(claimDuration)
	if r, err := w.ports.Get(t.Context(), c.Ports[0].Fence.Lease); err != nil || r.Value.State != ledger.Free {
		t.Errorf("the port is %+v, %v", r.Value, err)
	}
}

// TestHoldingReplacesAnOlderRecord puts an older record in the place of a live
// pod's port lease: a backup was put back, or a person blocked the port after its
// lease had been deleted. Nobody holds it, so the holder's next renewal has it
// back, and what the person said of the port stays.
func TestHoldingReplacesAnOlderRecord(t *testing.T) {
	for _, test := range []struct {
		name  string
		older ledger.Port
	}{
		{"a generation ago, free", ledger.Port{State: ledger.Free, Epoch: "former", Generation: 4}},
		{"never held, free", ledger.Port{State: ledger.Free}},
		{"never held, blocked by a person", ledger.Port{State: ledger.Blocked, BlockedBy: "alice: flood"}},
	} {
		for _, claimToo := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, claim lost %v", test.name, claimToo), func(t *testing.T) {
				w := newLedgerWorld(t, 1)
				older := test.older
				older.LoadBalancerARN, older.ListenerPort = firstLB, listenerPort
				lease := ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort)
				if older.Generation > 0 {
					w.ports.Recreate(t, lease, older)
				}
				c := w.bind("live", "10.0.0.1")
				w.ports.Recreate(t, lease, older)
				// Without its claim the holding comes from what the agent presents,
				// which says that it is bound; else the agent reports it anew.
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
				port := w.ports.Rows[lease].Value
				if port.BlockedBy != older.BlockedBy {
					t.Errorf("it is closed by %q, was by %q", port.BlockedBy, older.BlockedBy)
				}
				if claimToo && (port.TargetGroupARN != c.Ports[0].TargetGroupARN || port.ListenerARN != c.Ports[0].ListenerARN) {
					t.Errorf("its binding is forgotten: %+v", port)
				}
			})
		}
	}
}

// TestHoldingYieldsToALaterRecord keeps the fence: what may tell of a holder that
// came after is not written over.
func TestHoldingYieldsToALaterRecord(t *testing.T) {
	for _, test := range []struct {
		name  string
		later ledger.Port
	}{
		{"a later generation is over", ledger.Port{State: ledger.Free, Epoch: "epoch-1", Generation: 2}},
		{"this generation is over", ledger.Port{State: ledger.Free, Epoch: "epoch-1", Generation: 1}},
		{"the lease was made anew", ledger.Port{State: ledger.Free, Epoch: "another", Generation: 1}},
		{"somebody has it", ledger.Port{State: ledger.Bound, Epoch: "epoch-1", Generation: 2, Holder: "claim-uid-other"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 1)
			c := w.bind("live", "10.0.0.1")
			later, lease := test.later, c.Ports[0].Fence.Lease
			later.LoadBalancerARN, later.ListenerPort = firstLB, listenerPort
			w.ports.Recreate(t, lease, later)
			w.loseClaim("live")
			_, err := w.renew(c)
			w.refused(err, api.Lost)
			if got := w.ports.Rows[lease].Value; got != later {
				t.Errorf("written over: %+v", got)
			}
		})
	}
}

// TestPodKeepsItsGoodPort takes one of two ports from a pod in a full pool. The
// other has players on it and must not be given up for the one that is missing.
func TestPodKeepsItsGoodPort(t *testing.T) {
	for _, test := range []struct {
		name string
		take func(*ledgerWorld, api.Claim, api.ClaimedPort) error
	}{
		{"somebody else's listener is on the other", func(w *ledgerWorld, c api.Claim, bad api.ClaimedPort) error {
			w.cloud.foreign(bad.ListenerPort)
			_, err := w.service.ReportCollision(w.Context(), holderOf(c.Pod), api.CollisionRequest{ClaimUID: c.UID, Fence: bad.Fence})
			return err
		}},
		{"the other was lost and is another's", func(w *ledgerWorld, c api.Claim, bad api.ClaimedPort) error {
			w.ports.Recreate(w.T, bad.Fence.Lease, ledger.Port{
				LoadBalancerARN: firstLB, ListenerPort: bad.ListenerPort, State: ledger.Claimed, Epoch: "another", Generation: 1, Holder: "claim-uid-other",
			})
			_, err := w.renew(c)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newLedgerWorld(t, 2)
			c := w.bind("live", "10.0.0.1", "good", "bad")
			// Lost would make the agent unbind both.
			w.refused(test.take(w, c, c.Ports[1]), api.Exhausted)
			if !w.claimLease("live").Value.Lists(c.Ports[0].Fence) {
				t.Errorf("its claim lists %+v", w.claimLease("live").Value.Ports)
			}
			w.sweepFor(claimDuration / 8)
			w.keeps(c, ledger.Bound)
		})
	}
}

// TestPortsAreKeptWhileTheirLoadBalancerIsUnread has room on another load
// balancer when one of two ports was lost: the pod is not moved there, because the
// other may well be completed where it is. The view may not show yet that the pod
// has that one; then its claim does.
func TestPortsAreKeptWhileTheirLoadBalancerIsUnread(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("view late %v", late), func(t *testing.T) {
			w := newLedgerWorld(t, 3)
			c := w.bind("live", "10.0.0.1", "good", "bad")
			w.ports.Hidden[c.Ports[0].Fence.Lease] = late
			w.ports.Recreate(t, c.Ports[1].Fence.Lease, ledger.Port{
				LoadBalancerARN: firstLB, ListenerPort: c.Ports[1].ListenerPort, State: ledger.Claimed, Epoch: "another", Generation: 1, Holder: "claim-uid-other",
			})
			w.cloud.read = []string{secondLB}
			_, err := w.renew(c)
			w.refused(err, api.Pending)
			w.keeps(c, ledger.Bound)
			w.cloud.read = []string{firstLB, secondLB}
			answer, err := w.renew(c)
			if err != nil || len(answer.Claim.Ports) != 2 || answer.Claim.Ports[0].Fence != c.Ports[0].Fence {
				t.Errorf("it has %+v after renewing, had %+v: %v", answer.Claim.Ports, c.Ports, err)
			}
			w.keeps(c, ledger.Bound)
		})
	}
}

// TestUnreadableRecordIsNotOverwritten has somebody else's listener where the
// ledger cannot say who holds the port: writing that down would wipe out a holder.
func TestUnreadableRecordIsNotOverwritten(t *testing.T) {
	w := newLedgerWorld(t, 1)
	c := w.bind("live", "10.0.0.1")
	lease := c.Ports[0].Fence.Lease
	w.ports.Recreate(t, lease, ledger.Port{})
	w.ports.Unreadable[lease] = true
	before := w.ports.Rows[lease]
	w.cloud.foreign(listenerPort)
	if err := w.janitor.Audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := w.ports.Rows[lease]; !reflect.DeepEqual(after, before) {
		t.Errorf("written over: %+v", after.Value)
	}
}

// TestRenewalReservesDescribes that the agent asks for, and for none that it does not.
func TestRenewalReservesDescribes(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c := w.bind("game", "10.0.0.8")
	for _, looks := range []int{0, 1, api.MaxDescribes} {
		answer, err := w.service.Renew(t.Context(), holderOf("game"), api.RenewRequest{ClaimUID: c.UID, PodIP: "10.0.0.8", Pool: "default", Ports: c.Ports, Describes: looks})
		if err != nil || answer.Describes != looks || answer.DescribeAfterSeconds != 0 {
			t.Errorf("asked for %d looks it pays for %d, or after %v s, %v", looks, answer.Describes, answer.DescribeAfterSeconds, err)
		}
	}
	for _, looks := range []int{-1, api.MaxDescribes + 1} {
		_, err := w.service.Renew(t.Context(), holderOf("game"), api.RenewRequest{ClaimUID: c.UID, PodIP: "10.0.0.8", Pool: "default", Ports: c.Ports, Describes: looks})
		w.refused(err, api.Invalid)
	}
}

// TestRenewalOfAWholeClaimReadsNothing: thousands of pods renew all the time.
// What the view does not show whole is read.
func TestRenewalOfAWholeClaimReadsNothing(t *testing.T) {
	w := newLedgerWorld(t, 2)
	c := w.bind("a", "10.0.0.1", "game", "chat")
	renew := func() (writes, reads int) {
		t.Helper()
		w.now = w.now.Add(time.Second)
		writes, reads = w.claims.Writes+w.ports.Writes, w.claims.Reads+w.ports.Reads
		answer, err := w.renew(c)
		if err != nil || len(answer.Rebind) > 0 || !reflect.DeepEqual(answer.Claim.Ports, c.Ports) {
			t.Errorf("renewed with %+v, %v; want %+v", answer, err, c.Ports)
		}
		return w.claims.Writes + w.ports.Writes - writes, w.claims.Reads + w.ports.Reads - reads
	}
	if writes, reads := renew(); writes != 1 || reads != 0 {
		t.Errorf("it took %d writes and %d reads", writes, reads)
	}
	w.ports.Hidden[c.Ports[1].Fence.Lease] = true
	if _, reads := renew(); reads == 0 {
		t.Error("it believed what it does not see")
	}
}
