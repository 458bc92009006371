package lifecycle_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestReleaseNotifiesTheAllocatorBeforeItDeletes(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.AccessKeyID == "AGENT" && w.ledger.count("release") == 0 {
				t.Errorf("%s came before the release", call.Action)
			}
			return elbemu.Fault{}
		})
		p.term()
		w.checkEmpty()
	})
}

func TestReleaseLeavesBindingsToTheJanitorIfTold(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ledger.janitorUnbinds, w.ledger.janitorDeregisters = true, true
		p := w.start()
		w.awaitReady(p)
		before := len(w.emulator.Calls())
		p.term()
		if n := len(w.emulator.Calls()); n != before || w.ledger.count("finish") != 0 {
			t.Errorf("%d calls to AWS and %d finishes", n-before, w.ledger.count("finish"))
		}
	})
}

func TestReleaseWaitsWhileTheTargetGroupIsInUse(t *testing.T) {
	inWorld(t, elbemu.Config{Delays: &elbemu.Delays{InUse: 20 * time.Second}}, func(t *testing.T, w *world) {
		w.ledger.inUseSeconds = 20
		p := w.start()
		w.awaitReady(p)
		before := make(map[string]int)
		deletions := map[string]int{"DeleteListener": 1, "DeleteTargetGroup": 1, "DescribeTags": 1}
		for action := range deletions {
			before[action] = w.agentCalls(action)
		}
		if took := p.term(); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("ending took %v", took)
		}
		for action, most := range deletions {
			if n := w.agentCalls(action) - before[action]; n > most {
				t.Errorf("unbinding took %d calls of %s, want %d at most", n, action, most)
			}
		}
		w.checkEmpty()
		if len(w.ledger.finished) != 1 {
			t.Errorf("finished %v", w.ledger.finished)
		}
	})
}

func TestReleaseEndsInTimeAndReportsOnlyWhatIsGone(t *testing.T) {
	inWorld(t, elbemu.Config{Delays: &elbemu.Delays{InUse: 20 * time.Second}}, func(t *testing.T, w *world) {
		w.release = 5 * time.Second
		p := w.start()
		w.awaitReady(p)
		if took := p.term(); took > 5*time.Second {
			t.Errorf("ending took %v", took)
		}
		if len(w.ledger.finished) != 0 {
			t.Errorf("finished %v, whose target group is there", w.ledger.finished)
		}
		if listeners := must[[]elb.Listener](w)(w.aws.Listeners(t.Context(), w.lb)); len(listeners) != 0 {
			t.Errorf("listeners are left: %+v", listeners)
		}
	})
}

func TestReleaseKeepsBindingsIfTheAllocatorIsUnreachable(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.ledger.change(func() { w.ledger.refuse = func(string) error { return errors.New("connection refused") } })
		if took := p.term(); took > 25*time.Second {
			t.Errorf("ending took %v", took)
		}
		if n := w.ledger.count("release"); n < 3 {
			t.Errorf("asked %d times", n)
		}
		w.checkBound(30000) // the ledger still has the port as bound
	})
}

func TestReleaseDeletesAListenerWhoseAnswerWasLost(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		created := make(chan struct{}, 1)
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.Action == "CreateListener" {
				created <- struct{}{}
				return elbemu.AnswerLost()
			}
			return elbemu.Fault{}
		})
		p := w.start()
		<-created
		synctest.Wait()
		p.term()
		w.checkEmpty()
	})
}

func TestStopWhileBindingReleases(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		throttling := true
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if throttling && call.Action == "CreateListener" {
				return elbemu.Throttle()
			}
			return elbemu.Fault{}
		})
		w.drain = time.Hour // but no player ever came
		p := w.start()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := w.agentCalls("CreateListener"); n < 10 || n > 40 {
			t.Errorf("tried %d times in five minutes", n)
		}
		if took := p.term(); took > time.Second {
			t.Errorf("ending took %v", took)
		}
		w.checkEmpty()
	})
}

// AWS is throttled, and slow to show what was created and to end what was deleted.
func TestBindAndReleaseAtTheSpeedOfAWS(t *testing.T) {
	inWorld(t, elbemu.Config{Profile: elbemu.ProfileAWS}, func(t *testing.T, w *world) {
		time.Sleep(5 * time.Minute) // until the load balancer serves
		w.ports = append(w.ports, api.Port{Name: "chat", TargetPort: 8080, Protocol: api.TCP})
		p := w.start()
		w.awaitReady(p)
		// The agent waits until AWS shows the tags.
		for _, port := range w.ledger.now().Ports {
			if tags := must[map[string]map[string]string](w)(w.aws.Tags(t.Context(), port.ListenerARN, port.TargetGroupARN)); len(tags) != 2 {
				t.Errorf("port %d was reported bound before both of its parts could be seen", port.ListenerPort)
			}
		}
		time.Sleep(time.Minute) // until everything is visible
		w.checkBound(30000, 30001)
		if took := p.term(); took > 25*time.Second {
			t.Errorf("ending took %v", took)
		}
		w.checkEmpty()
	})
}

// It forwards to this pod's target group, which then stays in use.
func TestReleaseLeavesAForeignListener(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		group := w.ledger.now().Ports[0].TargetGroupARN
		theirs := must[string](w)(w.aws.CreateListener(t.Context(), elb.ListenerSpec{
			LoadBalancerARN: w.lb, Port: 40000, Protocol: api.UDP, TargetGroupARN: group,
		}))
		p.term()
		listeners := must[[]elb.Listener](w)(w.aws.Listeners(t.Context(), w.lb))
		if len(listeners) != 1 || listeners[0].ARN != theirs {
			t.Errorf("listeners are %+v, want only %s", listeners, theirs)
		}
	})
}
