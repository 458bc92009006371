package claim_test

import (
	"context"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// heldBy are the port leases that a pod's claim holds, also while it is released.
func (w *world) heldBy(pod string) (held []ledger.Record[ledger.Port]) {
	for _, r := range w.ledger.Ports.List() {
		if r.Value.Holder == ledger.ClaimName(holderOf(pod).UID) {
			held = append(held, r)
		}
	}
	return held
}

// unbind does what the janitor does once AWS has confirmed that a pod's bindings are gone.
func (w *world) unbind(pod string) {
	for _, r := range w.heldBy(pod) {
		r.Value.State, r.Value.Holder, r.Value.TargetGroupARN = ledger.Cooldown, "", ""
		w.ledger.Ports.Recreate(r.Name, r.Value)
	}
}

func (w *world) release(c api.Claim, deregistered bool) api.ReleaseAnswer {
	w.Helper()
	answer, err := w.service.Release(w.Context(), holderOf(c.Pod), api.ReleaseRequest{ClaimUID: c.UID, Deregistered: deregistered})
	if err != nil {
		w.Fatal(err)
	}
	return answer
}

// A pod gets the address of one whose ports are being released. Its claim waits until
// none of them forwards to that address, and no longer.
func TestAddressIsFreeOnceItsPortsAreDeregistered(t *testing.T) {
	for name, c := range map[string]struct {
		// claim returns the claim of the pod that had the address.
		claim func(w *world) api.Claim
		// free is true if deregistering is enough.
		free bool
	}{
		"bound":          {func(w *world) api.Claim { return w.bind("former", ipA) }, true},
		"with two ports": {func(w *world) api.Claim { return w.bind("former", ipA, "game", "chat") }, true},
		"still registering": {func(w *world) api.Claim {
			c := w.bind("former", ipA)
			r := w.heldBy("former")[0]
			r.Value.State = ledger.Claimed
			w.ledger.Ports.Recreate(r.Name, r.Value)
			return c
		}, false},
		"had another IP before": {func(w *world) api.Claim {
			c := w.bind("former", ipB)
			if err := w.move("former", ipA); err != nil {
				w.Fatal(err)
			}
			return c
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 6)
			former := c.claim(w)
			w.mustWait("heir")
			if answer := w.release(former, false); !answer.Deregister || !answer.Unbind {
				t.Errorf("the budget is full, and the agent is told %+v", answer)
			}
			w.mustWait("heir")
			if answer := w.release(former, true); answer.Deregister {
				t.Error("the agent has deregistered its targets, and is told to do it again")
			}
			if !c.free {
				w.mustWait("heir")
				w.unbind("former")
			}
			w.mayBind(w.claim("heir", ipA))
		})
	}
}

// A port that never recorded a target group cannot forward.
func TestAddressOfAPodThatBoundNothingIsFree(t *testing.T) {
	w := newWorld(t, 4)
	c, err := w.claim("former", ipA)
	w.mayBind(c, err)
	w.release(c, false)
	w.mayBind(w.claim("heir", ipA))
}

// Somebody deleted the port lease, and nothing else records the binding, which forwards to
// the address of a pod that is gone by now.
func TestLostPortLeaseKeepsTheAddress(t *testing.T) {
	w := newWorld(t, 4)
	c := w.bind("former", ipA)
	w.ledger.Ports.Remove(c.Ports[0].Fence.Lease)
	delete(w.pods, "former")
	w.mustWait("heir") // the release begins
	w.mustWait("heir")
	if r := w.claimLease("former"); r.Value.State != ledger.ClaimReleasing {
		t.Errorf("the claim is %s", r.Value.State)
	}
}

// Somebody deleted the port lease, and another claim has taken the port anew since. Nobody
// knows yet whether the former target group is gone.
func TestPortTakenAnewKeepsTheAddressOfItsFormerHolder(t *testing.T) {
	w := newWorld(t, 4)
	c := w.bind("former", ipA)
	w.ledger.Ports.Change(c.Ports[0].Fence.Lease, func(p *ledger.Port) {
		*p = ledger.Port{LoadBalancerARN: p.LoadBalancerARN, ListenerPort: p.ListenerPort, State: ledger.Claimed, Holder: "claim-young", Epoch: "anew", Generation: 1}
	})
	delete(w.pods, "former")
	w.mustWait("heir") // the release begins
	w.mustWait("heir")
}

// A claim gave up a port before its pod ended; that port is not in its plan.
func TestGivenUpPortKeepsTheAddress(t *testing.T) {
	w := newWorld(t, 4)
	c := w.bind("former", ipA)
	w.cloud.foreign(listenerPort)
	w.cloud.listeners[c.Ports[0].ListenerPort] = w.cloud.listeners[listenerPort]
	if _, err := w.service.ReportCollision(t.Context(), holderOf("former"), api.CollisionRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence}); err != nil {
		t.Fatal(err)
	}
	delete(w.pods, "former")
	w.mustWait("heir")
	w.release(c, true) // of the port that it moved to
	w.mustWait("heir")
	w.unbind("former")
	w.mayBind(w.claim("heir", ipA))
}

// Without budget for more than the registration calls the agent only deregisters; without
// any the janitor does everything.
func TestAgentDoesWhatTheBudgetGrants(t *testing.T) {
	for _, test := range []struct {
		budget tight
		part   ledger.AgentPart
		want   api.ReleaseAnswer
	}{
		{tight{deregister: true}, ledger.AgentDeregistering, api.ReleaseAnswer{Deregister: true}},
		{tight{}, ledger.AgentAbsent, api.ReleaseAnswer{}},
	} {
		w := newWorld(t, 1)
		c := w.bind("game", ipA)
		w.service.Budget = test.budget
		for range 2 { // the answer was lost
			if got := w.release(c, false); got.Deregister != test.want.Deregister || got.Unbind {
				t.Errorf("%+v: the agent is told %+v", test.budget, got)
			}
		}
		if p := w.heldBy("game")[0].Value; p.State != ledger.Releasing || p.Agent != test.part || p.Deregistered {
			t.Errorf("%+v: the port is %+v", test.budget, p)
		}
	}
}

// tight is an AWS budget that grants no opportunistic calls.
type tight struct {
	plenty
	deregister bool
}

func (tight) TryOpportunistic(context.Context, string, int) (bool, error) { return false, nil }

func (b tight) Deregister(context.Context, string, int, int) (bool, error) { return b.deregister, nil }
