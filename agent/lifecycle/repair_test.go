package lifecycle_test

import (
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestDamageIsRepairedInPlace(t *testing.T) {
	damages := map[string]func(*world, api.ClaimedPort){
		"listener": func(w *world, p api.ClaimedPort) {
			must[any](w)(nil, w.aws.DeleteListener(w.t.Context(), p.ListenerARN))
		},
		"both": func(w *world, p api.ClaimedPort) {
			must[any](w)(nil, w.aws.DeleteListener(w.t.Context(), p.ListenerARN))
			must[any](w)(nil, w.aws.DeleteTargetGroup(w.t.Context(), p.TargetGroupARN))
		},
		"target": func(w *world, p api.ClaimedPort) {
			must[any](w)(nil, w.aws.DeregisterTargets(w.t.Context(), p.TargetGroupARN, []elb.Target{{IP: podIP, Port: 7777}}))
			must[any](w)(nil, w.aws.RegisterTarget(w.t.Context(), p.TargetGroupARN, "127.30.0.99", 7777))
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				p := w.start()
				w.awaitReady(p)
				damage(w, w.ledger.now().Ports[0])
				w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
				renewals := w.ledger.count("renew")
				w.await("renewal", func() bool { return w.ledger.count("renew") > renewals })
				w.awaitReady(p)
				w.checkBound(30000)
				if w.announced() != "games.elb.example:30000" {
					t.Errorf("announced %q", w.announced())
				}
				p.term()
				w.checkEmpty()
			})
		})
	}
}

// Nobody may be sent to the old endpoint of a binding that cannot be repaired in place.
func TestRepairThatMovesTheClaimWithdrawsFirst(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		must[any](w)(nil, w.aws.DeleteListener(t.Context(), w.ledger.now().Ports[0].ListenerARN))
		w.foreignListener(30000)
		w.ledger.change(func() { w.ledger.blocked[30000], w.ledger.rebind = true, []string{"lb-30000"} })
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.AccessKeyID == "AGENT" && call.Params.Get("Port") == "30001" && w.announced() != "" {
				t.Errorf("announced %q while port 30001 is bound", w.announced())
			}
			return elbemu.Fault{}
		})
		w.await("other endpoint", func() bool { return w.announced() == "games.elb.example:30001" })
		w.setFault(nil)
		w.awaitReady(p)
		p.term()
	})
}

// AWS may show late what exists.
func TestListenerIsKeptWhenAWSDoesNotShowItsTargetGroup(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		before := w.ledger.now().Ports[0]
		looked := false
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			switch {
			case call.Action == "DescribeTargetHealth" && !looked:
				looked = true
				return elbemu.Refuse(400, "TargetGroupNotFound", "not seen yet")
			case call.Action == "DeleteListener":
				t.Error("a listener is deleted")
			}
			return elbemu.Fault{}
		})
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
		renewals := w.ledger.count("renew")
		w.await("renewal", func() bool { return w.ledger.count("renew") > renewals })
		w.awaitReady(p)
		w.checkBound(30000)
		if after := w.ledger.now().Ports[0]; !looked || after.ListenerARN != before.ListenerARN {
			t.Errorf("looked: %v, the listener was %s and is %s", looked, before.ListenerARN, after.ListenerARN)
		}
		w.setFault(nil)
		p.term()
	})
}

// A listener that was never reported, was changed by hand and cannot be deleted at once
// still is this pod's own and no collision.
func TestDamagedListenerIsDeletedUntilThatSucceeds(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		redirected, refused := false, 0
		w.ledger.change(func() {
			w.ledger.refuse = func(call string) error {
				if call != "bound" || redirected {
					return nil
				}
				redirected = true
				l := w.emulator.Snapshot().Listeners[0]
				w.foreignListener(30009)
				for _, other := range w.emulator.Snapshot().Listeners {
					if other.Port == 30009 {
						w.post(url.Values{
							"Action": {"ModifyListener"}, "ListenerArn": {l.ARN},
							"DefaultActions.member.1.Type": {"forward"}, "DefaultActions.member.1.TargetGroupArn": {other.Forwards[0].TargetGroupARN},
						})
					}
				}
				return api.Errorf(api.Unavailable, "not now")
			}
		})
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.Action == "DeleteListener" && refused < 2 {
				refused++
				return elbemu.Refuse(500, "InternalFailure", "not now")
			}
			return elbemu.Fault{}
		})
		p := w.start()
		w.awaitReady(p)
		if refused != 2 || w.ledger.count("collision") > 0 {
			t.Errorf("%d deletions refused, %d collisions reported", refused, w.ledger.count("collision"))
		}
		if at := w.ledger.now().Ports[0]; at.ListenerPort != 30000 || at.ListenerARN == "" {
			t.Errorf("bound at %+v", at)
		}
		p.term()
	})
}

// A foreign listener took the place of this pod's own for a while. It is not this pod's
// to delete.
func TestPortIsBoundOnceAForeignListenerIsMovedAway(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		before := w.ledger.now().Ports[0]
		must[any](w)(nil, w.aws.DeleteListener(t.Context(), before.ListenerARN))
		theirs := must[string](w)(w.aws.CreateListener(t.Context(), elb.ListenerSpec{
			LoadBalancerARN: w.lb, Port: 30000, Protocol: api.UDP, TargetGroupARN: before.TargetGroupARN,
		}))
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
		w.await("damage is known", func() bool { return p.Ready() != nil })
		time.Sleep(3 * time.Minute) // in the bubble's time
		if w.ledger.count("bound") != 1 {
			t.Error("the foreign listener was reported as bound")
		}
		w.post(url.Values{"Action": {"ModifyListener"}, "ListenerArn": {theirs}, "Port": {"30009"}})
		w.awaitReady(p)
		listeners := must[[]elb.Listener](w)(w.aws.Listeners(t.Context(), w.lb))
		own := w.ledger.now().Ports[0].ListenerARN
		slices.SortFunc(listeners, func(a, b elb.Listener) int { return a.Port - b.Port })
		if len(listeners) != 2 || listeners[0].ARN != own || listeners[0].Port != 30000 || listeners[1].ARN != theirs || listeners[1].Port != 30009 {
			t.Errorf("listeners are %+v; %s is this pod's and %s is foreign", listeners, own, theirs)
		}
		p.term()
	})
}

// Each is on the other's port, and the pool has no other port for either.
func TestSwappedListenersAreRepaired(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		w.ports = []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}, {Name: "query", TargetPort: 7778, Protocol: api.UDP}}
		p := w.start()
		w.awaitReady(p)
		ports := w.ledger.now().Ports
		move := func(arn string, to int) {
			w.post(url.Values{"Action": {"ModifyListener"}, "ListenerArn": {arn}, "Port": {strconv.Itoa(to)}})
		}
		move(ports[0].ListenerARN, 30009)
		move(ports[1].ListenerARN, 30000)
		move(ports[0].ListenerARN, 30001)
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000", "lb-30001"} })
		w.await("damage is known", func() bool { return p.Ready() != nil })
		w.awaitReady(p)
		w.checkBound(30000, 30001)
		p.term()
		w.checkEmpty()
	})
}
