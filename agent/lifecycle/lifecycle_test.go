package lifecycle_test

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestLifeOfAPod(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
		p := w.start()
		if p.Started() == nil || p.Ready() == nil {
			t.Error("ready before anything was done")
		}
		w.awaitReady(p)
		w.checkBound(30000, 30001)
		if w.announced() != "games.elb.example:30000" || w.ownPod.says() != 30000 || p.Started() != nil {
			t.Errorf("announced %q and %d, started: %v", w.announced(), w.ownPod.says(), p.Started())
		}
		// Each of these is paid for out of the account's buckets.
		for action, want := range map[string]int{
			"CreateTargetGroup": 2, "CreateListener": 2, "RegisterTargets": 2, "DeregisterTargets": 0,
			"DescribeTargetGroups": 0, "DescribeTargetHealth": 2, "DescribeListeners": 0, "DescribeTags": 2,
		} {
			if n := w.agentCalls(action); n != want {
				t.Errorf("binding took %d calls of %s, want %d", n, action, want)
			}
		}
		before := len(w.emulator.Calls())
		time.Sleep(time.Hour)
		if n := w.ledger.count("renew"); n < 109 || n > 133 {
			t.Errorf("renewed %d times in an hour, want about 120", n)
		}
		if n := len(w.emulator.Calls()); n != before {
			t.Errorf("holding cost %d calls to AWS", n-before)
		}
		if p.Live() != nil || p.metric("portlease_agent_bound_ports") != "2" {
			t.Errorf("live: %v, bound: %s", p.Live(), p.metric("portlease_agent_bound_ports"))
		}
		took := p.term()
		w.checkEmpty()
		if took > time.Second || w.announced() != "" || w.ownPod.says() != 0 || p.Ready() == nil {
			t.Errorf("after %v announced %q and %d, ready: %v", took, w.announced(), w.ownPod.says(), p.Ready())
		}
		if !slices.Equal(w.ledger.finished, []string{"lb-30000", "lb-30001"}) {
			t.Errorf("finished %v", w.ledger.finished)
		}
		if want := []string{"Announced"}; !slices.Equal(w.ownPod.events, want) {
			t.Errorf("events are %v, want %v", w.ownPod.events, want)
		}
	})
}

func (w *world) agentCalls(action string) int {
	n := 0
	for _, c := range w.emulator.Calls() {
		if c.Action == action && c.AccessKeyID == "AGENT" {
			n++
		}
	}
	return n
}

// Killed after any number of calls, whether the last was carried out or not, the
// next agent ends bound, and nothing is left over when it goes.
func TestKilledAnywhereWhileBinding(t *testing.T) {
	for _, applied := range []bool{true, false} {
		for n := 1; ; n++ {
			reached := true
			t.Run(fmt.Sprintf("call %d applied %v", n, applied), func(t *testing.T) {
				inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
					w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
					p := w.killAt(n, applied)
					w.await("killed or ready", func() bool { return p.cut.killed() || p.Ready() == nil })
					reached = p.cut.killed()
					p.kill()
					w.setFault(nil)
					w.ledger.change(func() { w.ledger.refuse = nil })
					// A sandbox made anew may have another address.
					w.pod.IP = "127.30.0.8"
					next := w.start()
					w.awaitReady(next)
					w.checkBound(30000, 30001)
					next.term()
					w.checkEmpty()
				})
			})
			if !reached {
				break
			}
		}
	}
}

// killAt starts an agent that is killed during its nth call to AWS or the
// allocator.
func (w *world) killAt(n int, applied bool) *process {
	calls := 0
	var p *process
	started := make(chan struct{})
	hit := func() bool {
		<-started
		calls++
		if calls == n {
			p.cut.kill()
		}
		return calls == n && !applied
	}
	w.setFault(func(call elbemu.Call) elbemu.Fault {
		if call.AccessKeyID == "AGENT" && hit() {
			return elbemu.NotApplied()
		}
		return elbemu.Fault{}
	})
	w.ledger.change(func() {
		w.ledger.refuse = func(string) error {
			if hit() {
				return errKilled
			}
			return nil
		}
	})
	p = w.start()
	close(started)
	return p
}

// Any one call that fails, whether carried out or not, only costs time.
func TestAnyCallMayFailOnce(t *testing.T) {
	faults := map[string]func() elbemu.Fault{
		"not applied": elbemu.NotApplied, "answer lost": elbemu.AnswerLost, "throttled": elbemu.Throttle,
		"server error": elbemu.ServerError, "server error applied": elbemu.ServerErrorApplied,
	}
	for name, fault := range faults {
		for n := 1; ; n++ {
			calls := 0
			t.Run(fmt.Sprintf("%s %d", name, n), func(t *testing.T) {
				inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
					w.setFault(func(call elbemu.Call) elbemu.Fault {
						if call.AccessKeyID != "AGENT" {
							return elbemu.Fault{}
						}
						if calls++; calls == n {
							return fault()
						}
						return elbemu.Fault{}
					})
					p := w.start()
					w.awaitReady(p)
					w.checkBound(30000)
					p.term()
					w.checkEmpty()
				})
			})
			if calls < n {
				break
			}
		}
	}
}

func TestAllocatorMayFailAnywhere(t *testing.T) {
	for _, failure := range []error{
		errors.New("connection refused"),
		api.Errorf(api.Unavailable, "no API server"), api.Errorf(api.Pending, "later").WithRetryAfter(2 * time.Second),
		api.Errorf(api.Internal, "defect"), api.Errorf(api.Unauthenticated, "old token"), api.Errorf(api.Forbidden, "no"),
	} {
		for n := 1; n <= 4; n++ {
			t.Run(fmt.Sprintf("%v at %d", failure, n), func(t *testing.T) {
				inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
					calls := 0
					w.ledger.refuse = func(string) error {
						if calls++; calls == n {
							return failure
						}
						return nil
					}
					p := w.start()
					w.awaitReady(p)
					time.Sleep(2 * time.Minute)
					w.awaitReady(p)
					w.checkBound(30000)
					p.term()
					w.checkEmpty()
				})
			})
		}
	}
}

func TestRestartedAgentOnlyLooks(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.kill()
		before := len(w.emulator.Calls())
		p = w.start()
		w.awaitReady(p)
		for _, c := range w.emulator.Calls()[before:] {
			switch c.Action {
			case "DescribeTargetHealth", "DescribeListeners", "DescribeTags":
			default:
				t.Errorf("a restart with everything in place called %s", c.Action)
			}
		}
		w.checkBound(30000)
		p.term()
		w.checkEmpty()
	})
}

func TestWaitsPolitelyForAPort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ledger.refuse = func(string) error {
			return api.Errorf(api.Exhausted, "no port is free").WithRetryAfter(5 * time.Second)
		}
		p := w.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		// The allocator says when a port may be free, so nobody asks at other times.
		if n := w.ledger.count("claim"); n < 650 || n > 720 {
			t.Errorf("asked %d times in an hour, want about once each five seconds", n)
		}
		if p.Live() != nil || p.Ready() == nil || p.Started() == nil {
			t.Errorf("live: %v, ready: %v, started: %v", p.Live(), p.Ready(), p.Started())
		}
		if want := []string{"PoolExhausted"}; !slices.Equal(w.ownPod.events, want) {
			t.Errorf("events are %v, want %v", w.ownPod.events, want)
		}
		w.ledger.change(func() { w.ledger.refuse = nil })
		w.awaitReady(p)
		w.checkBound(30000)
		p.term()
	})
}

func TestInvalidIsAskedSlowlyAndNotACrash(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ledger.refuse = func(string) error { return api.Errorf(api.Invalid, "pool default does not exist") }
		p := w.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.ledger.count("claim"); n < 40 || n > 61 {
			t.Errorf("asked %d times in an hour", n)
		}
		if took := p.term(); took > 0 {
			t.Errorf("ending took %v", took)
		}
	})
}

func TestTakenPortIsLeftAlone(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		foreign := w.foreignListener(30000)
		w.ledger.blocked[30001] = true
		p := w.start()
		// At first the allocator does not see the listener either.
		w.await("conflict", func() bool { return w.ledger.count("conflict") > 0 })
		time.Sleep(10 * time.Second)
		if p.Ready() == nil {
			t.Error("bound on the port of another")
		}
		w.ledger.change(func() { w.ledger.blocked[30000] = true })
		w.awaitReady(p)
		if w.announced() != "games.elb.example:30002" {
			t.Errorf("announced %q", w.announced())
		}
		p.term()
		listeners := must[[]elb.Listener](w)(w.aws.Listeners(t.Context(), w.lb))
		groups := must[[]elb.TargetGroup](w)(w.aws.TargetGroups(t.Context()))
		if len(listeners) != 1 || listeners[0].ARN != foreign || len(groups) != 1 {
			t.Errorf("left are %+v and %+v, want only the foreign ones", listeners, groups)
		}
	})
}

// foreignListener is somebody else's, with no tags of portlease.
func (w *world) foreignListener(port int) string {
	group := must[string](w)(w.aws.CreateTargetGroup(w.t.Context(), elb.TargetGroupSpec{
		Name: "theirs", Protocol: api.UDP, Port: 1, VPC: "vpc-local", HealthCheck: api.HealthCheck{Protocol: "TCP", Port: 80},
	}))
	return must[string](w)(w.aws.CreateListener(w.t.Context(), elb.ListenerSpec{
		LoadBalancerARN: w.lb, Port: port, Protocol: api.UDP, TargetGroupARN: group,
	}))
}

func TestOthersTagsOnOurNameStopEverything(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		f := api.Fence{Lease: "lb-30000", Epoch: "e", Generation: 1}
		group := must[string](w)(w.aws.CreateTargetGroup(t.Context(), elb.TargetGroupSpec{
			Name: elb.TargetGroupName(ledgerID, f), Protocol: api.UDP, Port: 7777, VPC: "vpc-local",
			HealthCheck: api.HealthCheck{Protocol: "HTTP", Port: 9901, Path: api.HealthPath, IntervalSeconds: 10, HealthyThreshold: 2, UnhealthyThreshold: 2},
			Tags:        elb.Tags{Ledger: ledgerID, Namespace: "games", Pod: "other", PodUID: "uid-9", Lease: f.Lease, Epoch: f.Epoch, Generation: 1},
		}))
		p := w.start()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p.Ready() == nil || w.announced() != "" {
			t.Error("announced a binding that carries another's tags")
		}
		if p.metric(`portlease_agent_errors_total{class="foreign"}`) == "" {
			t.Error("nothing was counted")
		}
		p.term()
		if must[elb.TargetGroup](w)(w.aws.TargetGroup(t.Context(), group)).ARN != group {
			t.Error("the target group of another was deleted")
		}
	})
}

func TestLostClaimIsWithdrawnUnboundAndClaimedAgain(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.ledger.take()
		w.await("other endpoint", func() bool { return w.announced() == "games.elb.example:30001" })
		w.awaitReady(p)
		w.checkBound(30001)
		if p.metric("portlease_agent_claims_lost_total") != "1" || !slices.Contains(w.ownPod.events, "ClaimLost") {
			t.Errorf("lost %s times, events %v", p.metric("portlease_agent_claims_lost_total"), w.ownPod.events)
		}
		p.term()
		w.checkEmpty()
	})
}

func TestOnlyLostIsLost(t *testing.T) {
	for _, weather := range []error{
		errors.New("no route to host"), api.Errorf(api.Unauthenticated, "no"), api.Errorf(api.Forbidden, "no"),
		api.Errorf(api.Internal, "no"), api.Errorf(api.Unavailable, "no"), api.Errorf("new-code", "no"),
	} {
		t.Run(weather.Error(), func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				p := w.start()
				w.awaitReady(p)
				before := len(w.emulator.Calls())
				w.ledger.change(func() { w.ledger.refuse = func(string) error { return weather } })
				time.Sleep(time.Hour)
				synctest.Wait()
				if p.Ready() != nil || w.announced() == "" || len(w.emulator.Calls()) != before {
					t.Errorf("ready: %v, announced %q", p.Ready(), w.announced())
				}
				w.ledger.change(func() { w.ledger.refuse = nil })
				p.term()
				w.checkEmpty()
			})
		})
	}
}

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

func TestClaimThatMovedIsAnnouncedAnew(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.ledger.change(func() {
			w.ledger.blocked[30000] = true
			w.ledger.claim.Ports[0] = w.ledger.grant(w.ports[0], 9901)
		})
		w.await("other endpoint", func() bool { return w.announced() == "games.elb.example:30001" && w.ownPod.says() == 30001 })
		w.awaitReady(p)
		w.checkBound(30001)
		p.term()
		w.checkEmpty()
	})
}

// A binding that cannot be repaired in place moves: the old endpoint must not be
// announced meanwhile.
func TestRepairThatMovesWithdrawsFirst(t *testing.T) {
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

func TestLedgerThatForgotIsToldEverything(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		want := w.ledger.now().Ports
		w.ledger.change(func() {
			w.ledger.claim.Ports[0].TargetGroupARN, w.ledger.claim.Ports[0].ListenerARN = "", ""
		})
		for range 2 {
			renewals := w.ledger.count("renew")
			w.await("renewal", func() bool { return w.ledger.count("renew") > renewals })
		}
		if !reflect.DeepEqual(w.ledger.presented, want) {
			t.Errorf("presented %+v, want %+v", w.ledger.presented, want)
		}
		p.term()
	})
}

func TestPodThatCannotBeAnnotatedServesAllTheSame(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		w.ownPod.setRefuse(errors.New("forbidden"))
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setRefuse(nil)
		w.await("annotation", func() bool { return w.ownPod.says() == 30000 })
		p.term()
	})
}

// TestATargetGroupThatLooksGoneCostsNoListener: AWS may show late what is there.
func TestATargetGroupThatLooksGoneCostsNoListener(t *testing.T) {
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

// TestAListenerThatResistsIsNotForgotten: one that was never reported, was changed by
// hand and cannot be deleted at once still is this pod's own, and no conflict.
func TestAListenerThatResistsIsNotForgotten(t *testing.T) {
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
		if refused != 2 || w.ledger.count("conflict") > 0 {
			t.Errorf("%d deletions refused, %d conflicts reported", refused, w.ledger.count("conflict"))
		}
		if at := w.ledger.now().Ports[0]; at.ListenerPort != 30000 || at.ListenerARN == "" {
			t.Errorf("bound at %+v", at)
		}
		p.term()
	})
}
