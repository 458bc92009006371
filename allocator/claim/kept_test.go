package claim_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// TestRecreatedClaimKeepsItsPorts deletes the claim lease of a live pod whose agent
// restarts, while something keeps the claim from being planned at once. Its ports must
// not be released until then.
func TestRecreatedClaimKeepsItsPorts(t *testing.T) {
	noneRead := func(w *world) { w.cloud.read = nil }
	allRead := func(w *world) { w.cloud.read = []string{firstLB, secondLB} }
	for _, test := range []struct {
		name         string
		state        ledger.PortState
		hinder, mend func(*world)
	}{
		{"no load balancer has been read", ledger.Bound, noneRead, allRead},
		{"only another load balancer has been read", ledger.Bound, func(w *world) { w.cloud.read = []string{secondLB} }, allRead},
		{"its target group is not recorded yet", ledger.Claimed, noneRead, allRead},
		{
			"its pod IP is still recorded by another claim", ledger.Bound,
			func(w *world) {
				w.pods["former"] = &ledger.Pod{UID: "uid-former", IPs: []string{"10.0.0.1"}}
				w.ledger.Claims.Recreate("claim-uid-former", ledger.Claim{
					Namespace: "games", Pod: "former", PodUID: "uid-former", PodIP: "10.0.0.1", State: ledger.Granted, Pool: "default", Duration: claimDuration,
				})
			},
			func(w *world) { delete(w.pods, "former") },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 4)
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
			test.mend(w)
			again, err := w.claim("live", "10.0.0.1")
			if err != nil || len(again.Ports) != 1 || again.Ports[0].Fence != c.Ports[0].Fence {
				t.Errorf("it claims %+v, had %+v: %v", again.Ports, c.Ports, err)
			}
			w.sweepFor(claimDuration / 8)
			w.keeps(c, test.state)
		})
	}
}

// TestRecreatedClaimOfAGonePodKeepsNoPort: a claim that was created again holds its
// previous port only as long as its pod lives.
func TestRecreatedClaimOfAGonePodKeepsNoPort(t *testing.T) {
	w := newWorld(t, 1)
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

// TestPodKeepsItsGoodPort takes one of two ports from a pod in an exhausted pool. The
// other has players on it and must not be given up for the missing one.
func TestPodKeepsItsGoodPort(t *testing.T) {
	for _, test := range []struct {
		name string
		take func(*world, api.Claim, api.ClaimedPort) error
	}{
		{"a foreign listener is on the other", func(w *world, c api.Claim, bad api.ClaimedPort) error {
			w.cloud.foreign(bad.ListenerPort)
			_, err := w.service.ReportCollision(w.Context(), holderOf(c.Pod), api.CollisionRequest{ClaimUID: c.UID, Fence: bad.Fence})
			return err
		}},
		{"the other was lost and another claim holds it", func(w *world, c api.Claim, bad api.ClaimedPort) error {
			w.ledger.Ports.Recreate(bad.Fence.Lease, ledger.Port{
				LoadBalancerARN: firstLB, ListenerPort: bad.ListenerPort, State: ledger.Claimed, Epoch: "another", Generation: 1, Holder: "claim-uid-other",
			})
			_, err := w.renew(c)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 2)
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

// TestPortsAreKeptWhileTheirLoadBalancerIsUnread has room on another load balancer when
// one of two ports is lost. The pod is not moved there, because its own load balancer
// may have room once it is read. If the cache does not show the pod's good port yet,
// its claim does.
func TestPortsAreKeptWhileTheirLoadBalancerIsUnread(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("stale cache %v", late), func(t *testing.T) {
			w := newWorld(t, 3)
			c := w.bind("live", "10.0.0.1", "good", "bad")
			w.ledger.Ports.Recreate(c.Ports[1].Fence.Lease, ledger.Port{
				LoadBalancerARN: firstLB, ListenerPort: c.Ports[1].ListenerPort, State: ledger.Claimed, Epoch: "another", Generation: 1, Holder: "claim-uid-other",
			})
			renew := func() (api.RenewAnswer, error) {
				if late {
					w.ports.Hide(c.Ports[0].Fence.Lease)
				}
				return w.renew(c)
			}
			w.cloud.read = []string{secondLB}
			_, err := renew()
			w.refused(err, api.Pending)
			w.keeps(c, ledger.Bound)
			w.cloud.read = []string{firstLB, secondLB}
			answer, err := renew()
			if err != nil || len(answer.Claim.Ports) != 2 || answer.Claim.Ports[0].Fence != c.Ports[0].Fence {
				t.Errorf("it has %+v after renewing, had %+v: %v", answer.Claim.Ports, c.Ports, err)
			}
			w.keeps(c, ledger.Bound)
		})
	}
}

// TestUnreadableRecordIsNotOverwritten has a foreign listener on a port whose record is
// unreadable. Recording the listener would erase the holder.
func TestUnreadableRecordIsNotOverwritten(t *testing.T) {
	w := newWorld(t, 1)
	c := w.bind("live", "10.0.0.1")
	lease := c.Ports[0].Fence.Lease
	w.ledger.Ports.Damage(lease)
	before, _ := w.ledger.Ports.Row(lease)
	w.cloud.foreign(listenerPort)
	if err := w.janitor.Audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, _ := w.ledger.Ports.Row(lease); !reflect.DeepEqual(after, before) {
		t.Errorf("overwritten: %+v", after.Value)
	}
}

// TestRenewalReservesDescribes reserves as many describe calls as the agent asks for.
func TestRenewalReservesDescribes(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("game", "10.0.0.8")
	for _, describes := range []int{0, 1, api.MaxDescribes} {
		answer, err := w.service.Renew(t.Context(), holderOf("game"), api.RenewRequest{ClaimUID: c.UID, PodIP: "10.0.0.8", Pool: "default", Ports: c.Ports, Describes: describes})
		if err != nil || answer.Describes != describes || answer.DescribeAfterSeconds != 0 {
			t.Errorf("asked for %d describe calls it reserves %d, or after %v s, %v", describes, answer.Describes, answer.DescribeAfterSeconds, err)
		}
	}
	for _, describes := range []int{-1, api.MaxDescribes + 1} {
		_, err := w.service.Renew(t.Context(), holderOf("game"), api.RenewRequest{ClaimUID: c.UID, PodIP: "10.0.0.8", Pool: "default", Ports: c.Ports, Describes: describes})
		w.refused(err, api.Invalid)
	}
}

// TestRenewalOfAWholeClaimReadsNothing: thousands of pods renew all the time. A claim
// that the cache does not show as whole is read.
func TestRenewalOfAWholeClaimReadsNothing(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("a", "10.0.0.1", "game", "chat")
	renew := func() (writes, reads int) {
		t.Helper()
		w.now = w.now.Add(time.Second)
		writes, reads = w.ledger.Claims.Writes()+w.ledger.Ports.Writes(), w.ledger.Claims.Reads()+w.ledger.Ports.Reads()
		answer, err := w.renew(c)
		if err != nil || len(answer.Rebind) > 0 || !reflect.DeepEqual(answer.Claim.Ports, c.Ports) {
			t.Errorf("renewed with %+v, %v; want %+v", answer, err, c.Ports)
		}
		return w.ledger.Claims.Writes() + w.ledger.Ports.Writes() - writes, w.ledger.Claims.Reads() + w.ledger.Ports.Reads() - reads
	}
	if writes, reads := renew(); writes != 1 || reads != 0 {
		t.Errorf("it took %d writes and %d reads", writes, reads)
	}
	w.ports.Hide(c.Ports[1].Fence.Lease)
	if _, reads := renew(); reads == 0 {
		t.Error("it trusted a cache that lacks a port")
	}
}
