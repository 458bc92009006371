package lifecycle_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// unhealthyUntil makes all targets unhealthy until well is set.
func unhealthyUntil(well *atomic.Bool) elbemu.Config {
	return elbemu.Config{Healthy: func(string, int) bool { return well.Load() }}
}

// The agent describes targets only as often as the AWS budget grants, ever more rarely,
// and never again once they are healthy.
func TestReadyOnceAllTargetsAreHealthy(t *testing.T) {
	var well atomic.Bool
	inWorld(t, unhealthyUntil(&well), func(t *testing.T, w *world) {
		w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		looked := w.agentCalls("DescribeTargetHealth")
		if p.Ready() == nil || looked < 18 || looked > 30 {
			t.Errorf("ready: %v, %d describe calls for two ports in ten minutes", p.Ready(), looked)
		}
		if c := w.ownPod.condition(); c.Reachable || !strings.Contains(c.Message, "unhealthy") {
			t.Errorf("the condition is %+v", c)
		}
		well.Store(true)
		w.awaitReady(p)
		if c := w.ownPod.condition(); !c.Reachable || !strings.Contains(c.Message, "games.elb.example:30000") {
			t.Errorf("the condition is %+v", c)
		}
		w.ledger.change(func() {
			if n := w.agentCalls("DescribeTargetHealth"); n > w.ledger.granted {
				t.Errorf("%d describe calls, and %d were granted", n, w.ledger.granted)
			}
		})
		before, told := len(w.emulator.Calls()), w.ownPod.count()
		time.Sleep(time.Hour)
		if n := len(w.emulator.Calls()) - before; n != 0 || w.ownPod.count() != told {
			t.Errorf("holding a healthy pod cost %d calls to AWS and %d to the API server", n, w.ownPod.count()-told)
		}
		p.term()
		if w.ownPod.condition().Reachable {
			t.Error("the condition says reachable after the endpoint was withdrawn")
		}
	})
}

// Each request for them is a renewal, so requests that are refused become rare.
func TestDescribeCallsWaitForTheAWSBudget(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
		var asked atomic.Int32
		w.ledger.grants = func(int) (int, float64) {
			if asked.Add(1) < 4 {
				return 0, 1.5
			}
			return 1, 0
		}
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := w.agentCalls("DescribeTargetHealth"); n != 0 || p.Ready() == nil || asked.Load() != 3 {
			t.Errorf("it asked %d times, described %d times, ready: %v", asked.Load(), n, p.Ready())
		}
		w.awaitReady(p)
		w.ledger.change(func() {
			if n := w.agentCalls("DescribeTargetHealth"); n != w.ledger.granted {
				t.Errorf("%d describe calls, and %d were granted", n, w.ledger.granted)
			}
		})
		p.term()
	})
}

func TestHealthyTargetOfAnotherPodDoesNotCount(t *testing.T) {
	inWorld(t, elbemu.Config{Healthy: func(ip string, _ int) bool { return ip != podIP }}, func(t *testing.T, w *world) {
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		must[any](w)(nil, w.aws.RegisterTarget(t.Context(), w.ledger.now().Ports[0].TargetGroupARN, "127.30.0.99", 7777))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := w.agentCalls("DescribeTargetHealth"); n == 0 || p.Ready() == nil {
			t.Errorf("after %d describe calls ready: %v", n, p.Ready())
		}
		p.term()
	})
}

func TestRepairedPodIsReadyOnceItsNewTargetIsHealthy(t *testing.T) {
	var well atomic.Bool
	well.Store(true)
	inWorld(t, unhealthyUntil(&well), func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		well.Store(false)
		port := w.ledger.now().Ports[0]
		must[any](w)(nil, w.aws.DeleteListener(t.Context(), port.ListenerARN))
		must[any](w)(nil, w.aws.DeleteTargetGroup(t.Context(), port.TargetGroupARN))
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
		w.await("repair", func() bool { return w.agentCalls("CreateTargetGroup") == 2 })
		w.ledger.change(func() { w.ledger.rebind = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		if p.Started() != nil || p.Ready() == nil || w.ownPod.condition().Reachable {
			t.Errorf("ready: %v, condition %+v", p.Ready(), w.ownPod.condition())
		}
		well.Store(true)
		w.awaitReady(p)
		p.term()
	})
}

func TestRestartedAgentIsReadyAfterOneDescribeCall(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.kill()
		before := w.agentCalls("DescribeTargetHealth")
		p = w.start()
		synctest.Wait()
		if n := w.agentCalls("DescribeTargetHealth") - before; p.Ready() != nil || n != 1 {
			t.Errorf("ready: %v after %d describe calls", p.Ready(), n)
		}
		p.term()
	})
}

func TestGameThatIsNotReadyKeepsItsPort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		p.GameNotReady()
		synctest.Wait()
		if p.Ready() == nil || p.GameAnswers() == nil || w.ownPod.condition().Reason != "GameNotReady" || w.announced() == "" {
			t.Errorf("ready: %v, answers: %v, condition %+v, announced %q", p.Ready(), p.GameAnswers(), w.ownPod.condition(), w.announced())
		}
		before := len(w.emulator.Calls())
		time.Sleep(10 * time.Minute)
		if n := len(w.emulator.Calls()) - before; n != 0 {
			t.Errorf("waiting for the game cost %d calls to AWS", n)
		}
		p.GameReady()
		synctest.Wait()
		if p.Ready() == nil || p.GameAnswers() != nil {
			t.Errorf("ready before its targets were described: %v, answers: %v", p.Ready(), p.GameAnswers())
		}
		w.awaitReady(p)
		if !w.ownPod.condition().Reachable {
			t.Errorf("the condition is %+v", w.ownPod.condition())
		}
		p.term()
	})
}

func TestConditionIsSetOnceTheAPIServerIsBack(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.setRefuse(errors.New("connection refused"))
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setRefuse(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !w.ownPod.condition().Reachable || w.ownPod.says() != 30000 {
			t.Errorf("the pod says %+v and %d", w.ownPod.condition(), w.ownPod.says())
		}
		p.term()
	})
}

func TestPodIsUnreachableWhileItsRepairIsQueued(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		must[any](w)(nil, w.aws.DeleteListener(t.Context(), w.ledger.now().Ports[0].ListenerARN))
		w.ledger.change(func() {
			w.ledger.rebind, w.ledger.queue = []string{"lb-30000"}, waits(time.Minute)
		})
		w.await("queue", func() bool { return p.Ready() != nil })
		w.ledger.change(func() { w.ledger.rebind = nil })
		synctest.Wait()
		if c := w.ownPod.condition(); c.Reachable || c.Reason != "Repairing" {
			t.Errorf("the condition is %+v", c)
		}
		w.awaitReady(p)
		p.term()
	})
}

// The answer to setting it was lost.
func TestConditionThatMayHaveBeenSetIsSetToFalseAtStop(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		w.ownPod.setLose(errors.New("connection reset"))
		w.await("reachable", func() bool { return w.ownPod.condition().Reachable })
		synctest.Wait()
		w.ownPod.setLose(nil)
		p.term()
		if c := w.ownPod.condition(); c.Reachable {
			t.Errorf("the pod is gone, and its condition is %+v", c)
		}
	})
}
