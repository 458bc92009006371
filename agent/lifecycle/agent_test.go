package lifecycle_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

func TestLifeOfAPod(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
		p := w.start()
		if p.Started() == nil || p.Ready() == nil {
			t.Error("ready before it has started")
		}
		w.awaitReady(p)
		w.checkBound(30000, 30001)
		if w.announced() != "games.elb.example:30000" || w.ownPod.says() != 30000 || p.Started() != nil {
			t.Errorf("announced %q and %d, started: %v", w.announced(), w.ownPod.says(), p.Started())
		}
		// Each of these calls costs tokens of the account's buckets.
		for action, want := range map[string]int{
			"CreateTargetGroup": 2, "CreateListener": 2, "RegisterTargets": 2, "DeregisterTargets": 0,
			"DescribeTargetGroups": 0, "DescribeTargetHealth": 2, "DescribeListeners": 0, "DescribeTags": 1,
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

// The next agent ends bound and leaves nothing behind, whether the last call was carried
// out or not.
func TestNextAgentBindsAfterAKillAtAnyCall(t *testing.T) {
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
					// A new sandbox may have another address.
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

// killAt starts an agent that is killed during its nth call to AWS or the allocator.
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

// It makes no difference whether the failed call was carried out.
func TestOneFailedAWSCallOnlyDelays(t *testing.T) {
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

func TestOneFailedAllocatorCallOnlyDelays(t *testing.T) {
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

func TestRestartedAgentOnlyReadsAWS(t *testing.T) {
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
