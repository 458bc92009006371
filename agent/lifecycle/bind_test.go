package lifecycle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestForeignListenerIsLeftAloneAndAnotherPortBound(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		foreign := w.foreignListener(30000)
		w.ledger.blocked[30001] = true
		p := w.start()
		// At first the allocator does not see the foreign listener.
		w.await("collision", func() bool { return w.ledger.count("collision") > 0 })
		time.Sleep(10 * time.Second)
		if p.Ready() == nil {
			t.Error("bound a port with a foreign listener")
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

func TestForeignTargetGroupOfOurNameIsNotBound(t *testing.T) {
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
			t.Error("announced a binding with foreign tags")
		}
		if p.metric(`portlease_agent_errors_total{class="foreign"}`) == "" {
			t.Error("nothing was counted")
		}
		p.term()
		if must[elb.TargetGroup](w)(w.aws.TargetGroup(t.Context(), group)).ARN != group {
			t.Error("the foreign target group was deleted")
		}
	})
}

func TestAttributesAreSetOnceBeforeTheListener(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ledger.attributes = map[string]string{"deregistration_delay.timeout_seconds": "5", "stickiness.enabled": "true"}
		failed := false
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.Action == "CreateListener" && call.AccessKeyID == "AGENT" {
				if w.agentCalls("ModifyTargetGroupAttributes") == 0 {
					t.Error("the listener came before the attributes")
				}
				if !failed {
					failed = true
					return elbemu.NotApplied()
				}
			}
			return elbemu.Fault{}
		})
		p := w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		if n := w.agentCalls("ModifyTargetGroupAttributes"); n != 1 {
			t.Errorf("set %d times", n)
		}
		p.kill()
		p = w.start()
		w.awaitReady(p)
		if n := w.agentCalls("ModifyTargetGroupAttributes"); n != 1 {
			t.Errorf("a restarted agent set them again: %d times", n)
		}
		p.term()
		w.checkEmpty()
	})
}

// A second call would cost the account another of its few.
func TestListenerIsCreatedOnceWhileTheTargetFails(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		refused := 0
		w.setFault(func(c elbemu.Call) elbemu.Fault {
			if c.AccessKeyID == "AGENT" && c.Action == "RegisterTargets" && refused < 3 {
				refused++
				return elbemu.ServerError()
			}
			return elbemu.Fault{}
		})
		p := w.start()
		w.awaitReady(p)
		if n := w.agentCalls("CreateListener"); n != 1 {
			t.Errorf("it asked for the listener %d times", n)
		}
		p.term()
	})
}
