package claim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// TestClaimThatMustMoveKeepsItsGoodPort: a foreign listener took one of two ports, and the
// cache shows free ports on another load balancer that are taken. The claim must not give
// up the port that works before it has others.
func TestClaimThatMustMoveKeepsItsGoodPort(t *testing.T) {
	for name, spoil := range map[string]func(w *world, lease string){
		"taken, and not in the cache": func(w *world, lease string) {
			w.ledger.Ports.Recreate(lease, heldByAnother(listenerPort))
			w.ports.Hide(lease)
		},
		"taken, and free in the cache": func(w *world, lease string) {
			w.ledger.Ports.Recreate(lease, heldByAnother(listenerPort))
			w.stalePort(lease, func(p *ledger.Port) { p.State, p.Holder = ledger.Free, "" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			c := w.bind("a", "10.0.0.1", "one", "two")
			w.cloud.read = []string{firstLB, secondLB}
			spoil(w, ledger.PortName(ledger.LoadBalancerID(secondLB), listenerPort))
			bad, good := c.Ports[0], c.Ports[1]
			w.cloud.foreign(bad.ListenerPort)
			_, err := w.service.ReportCollision(t.Context(), holderOf("a"), api.CollisionRequest{ClaimUID: c.UID, Fence: bad.Fence})
			w.refused(err, api.Exhausted)
			w.sweepFor(time.Second)
			if p := w.ledger.Ports.Value(good.Fence.Lease); p.State != ledger.Bound || !p.HeldBy(ledger.ClaimName("uid-a"), good.Fence) {
				t.Errorf("its good port is %+v", p)
			}
		})
	}
}

// TestClaimThatMustMoveMoves as soon as there is room for all of it.
func TestClaimThatMustMoveMoves(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("a", "10.0.0.1", "one", "two")
	w.cloud.read = []string{firstLB, secondLB}
	w.cloud.foreign(c.Ports[0].ListenerPort)
	moved, err := w.service.ReportCollision(t.Context(), holderOf("a"), api.CollisionRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence})
	if err != nil || len(moved.Ports) != 2 || moved.LoadBalancer.ARN != secondLB {
		t.Errorf("it has %+v, %v", moved, err)
	}
}

func heldByAnother(port int) ledger.Port {
	return ledger.Port{LoadBalancerARN: secondLB, ListenerPort: port, State: ledger.Bound, Holder: "claim-other", Epoch: "e", Generation: 1, PodUID: "other", Namespace: "games", Pod: "other"}
}

// TestExhaustedSaysThePlaceInTheQueue: claims of one second are in the order of their names.
func TestExhaustedSaysThePlaceInTheQueue(t *testing.T) {
	w := newWorld(t, 1)
	w.bind("holder", "10.0.0.9")
	ask := func(pod, ip, place string) {
		t.Helper()
		_, err := w.claim(pod, ip)
		w.refused(err, api.Exhausted)
		if !strings.Contains(err.Error(), place) {
			t.Errorf("pod %s is told %q, want %q", pod, err, place)
		}
	}
	ask("a", "10.0.0.1", "this is the 1st of 1 waiting claims")
	ask("b", "10.0.0.2", "this is the 2nd of 2 waiting claims")
	ask("c", "10.0.0.3", "this is the 3rd of 3 waiting claims")
	ask("a", "10.0.0.1", "this is the 1st of 3 waiting claims")
}
