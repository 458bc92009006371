package claim_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// retryAfter is what a pod is told that waits for a port.
func (w *world) retryAfter(pod, ip string) time.Duration {
	w.Helper()
	_, err := w.claim(pod, ip)
	problem, ok := errors.AsType[*api.Problem](err)
	if !ok || problem.Code != api.Exhausted {
		w.Fatalf("pod %s: got %v, want exhausted", pod, err)
	}
	return problem.RetryAfter
}

// pass lets time pass, and the replica see which leases change meanwhile.
func (w *world) pass(d time.Duration) {
	w.Helper()
	if err := w.janitor.Sweep(w.Context()); err != nil {
		w.Error(err)
	}
	time.Sleep(d) // in the bubble
	w.now = w.now.Add(d)
}

// TestWaitGrowsWithThePlaceInTheQueue: the first claims ask often, the last ones when their
// turn may come. Each is told no longer than it may be silent without losing its place.
func TestWaitGrowsWithThePlaceInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.cloud.foreign(listenerPort)
		const waiting = 200
		pod := func(i int) (name, ip string) { return fmt.Sprint("w", i), fmt.Sprint("10.1.0.", i) }
		var first, second [waiting + 1]time.Duration
		for i := 1; i <= waiting; i++ {
			w.pass(time.Second) // creation times are in whole seconds
			first[i] = w.retryAfter(pod(i))
		}
		for i := 1; i <= waiting; i++ {
			if want := max(time.Duration(i)*time.Second, 5*time.Second); first[i] != want {
				t.Errorf("the %dth claim is told to wait %v at first, want %v", i, first[i], want)
			}
		}
		w.pass(claimDuration / 4)
		for i := 1; i <= waiting; i++ {
			reads, writes := w.ledger.Claims.Reads(), w.ledger.Claims.Writes()
			second[i] = w.retryAfter(pod(i))
			if want := max(time.Duration(i)*time.Second, 5*time.Second); second[i] != want {
				t.Errorf("the %dth claim is told to wait %v, want %v", i, second[i], want)
			}
			if reads, writes = w.ledger.Claims.Reads()-reads, w.ledger.Claims.Writes()-writes; reads != 0 || writes != 1 {
				t.Errorf("the %dth claim took %d reads and %d writes to ask again", i, reads, writes)
			}
			name, _ := pod(i)
			if d := w.claimLease(name).Value.Duration; d < claimDuration || second[i] > claimDuration/4 && d < 2*second[i] {
				t.Errorf("the %dth claim lasts %v, and is told to wait %v", i, d, second[i])
			}
		}
		// The last one is as late as it was told, and a port comes free: it keeps its place.
		w.pass(second[waiting])
		for i := 1; i < waiting; i++ {
			name, _ := pod(i)
			w.ledger.Claims.Remove("claim-uid-" + name)
		}
		delete(w.cloud.listeners, listenerPort)
		_, err := w.claim("young", "10.0.0.9")
		w.refused(err, api.Exhausted)
		last, ip := pod(waiting)
		if c, err := w.claim(last, ip); err != nil || len(c.Ports) != 1 {
			t.Fatalf("the oldest claim is granted %+v, %v", c.Ports, err)
		}
		if r := w.claimLease(last).Value; r.State != ledger.Granted || r.Duration != claimDuration {
			t.Errorf("the granted claim is %s and lasts %v, want %v", r.State, r.Duration, claimDuration)
		}
	})
}

// TestClaimThatLosesItsPlanKeepsItsPlace: its lease was renewed as one that has ports, so it asks
// again before that counts as silent.
func TestClaimThatLosesItsPlanKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.cloud.foreign(listenerPort)
		const waiting = 100
		for i := 1; i <= waiting; i++ {
			w.pass(time.Second)
			w.retryAfter(fmt.Sprint("w", i), fmt.Sprint("10.1.0.", i))
		}
		f := api.Fence{Lease: ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort), Epoch: "e", Generation: 1}
		other := ledger.Port{LoadBalancerARN: firstLB, ListenerPort: listenerPort, State: ledger.Bound, Holder: "claim-other", Epoch: "e", Generation: 2}
		if _, err := w.ports.Create(t.Context(), f.Lease, other); err != nil {
			t.Fatal(err)
		}
		r := w.claimLease(fmt.Sprint("w", waiting))
		r.Value.Planned, r.Value.Duration, r.Value.Ports = true, claimDuration, []ledger.PlannedPort{{ListenerPort: listenerPort, Fence: f}}
		if _, err := w.claims.Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := w.retryAfter(fmt.Sprint("w", waiting), fmt.Sprint("10.1.0.", waiting)); got > claimDuration/4 {
			t.Errorf("it is told to wait %v, and lasts %v", got, w.claimLease(fmt.Sprint("w", waiting)).Value.Duration)
		}
	})
}

func TestSilentClaimLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.cloud.foreign(listenerPort)
		w.retryAfter("gone", "10.0.0.2")
		w.pass(claimDuration/2 + time.Second)
		delete(w.cloud.listeners, listenerPort)
		if c, err := w.claim("young", "10.0.0.3"); err != nil || len(c.Ports) != 1 {
			t.Errorf("the younger claim is granted %+v, %v", c.Ports, err)
		}
	})
}
