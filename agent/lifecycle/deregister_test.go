package lifecycle_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// Deregistering follows the release, with as much time before the deletion as is set and
// left.
func TestTargetsAreDeregisteredBeforeTheListenersAreDeleted(t *testing.T) {
	for name, c := range map[string]struct {
		asked, grace  time.Duration
		before        func(*world, *process)
		calls         int
		drains, waits time.Duration
	}{
		"not set":                  {0, time.Hour, func(*world, *process) {}, 1, 0, 0},
		"longer than a release":    {40 * time.Second, time.Hour, func(*world, *process) {}, 1, 0, 40 * time.Second},
		"the grace period is less": {40 * time.Second, 30 * time.Second, func(*world, *process) {}, 1, 0, 25 * time.Second},
		"no grace is left":         {40 * time.Second, 4 * time.Second, func(*world, *process) {}, 1, 0, 0},
		"after draining": {10 * time.Second, 30 * time.Second, func(w *world, _ *process) {
			w.deaf.Store(false)
		}, 1, 15 * time.Second, 10 * time.Second},
		"told to hurry": {40 * time.Second, time.Hour, func(_ *world, p *process) {
			go func() {
				time.Sleep(7 * time.Second)
				close(p.hurry)
			}()
		}, 1, 0, 7 * time.Second},
		"the allocator does not grant it": {40 * time.Second, time.Hour, func(w *world, _ *process) {
			w.ledger.change(func() { w.ledger.janitorUnbinds = true })
		}, 1, 0, 0},
		"the janitor deregisters": {40 * time.Second, time.Hour, func(w *world, _ *process) {
			w.ledger.change(func() { w.ledger.janitorUnbinds, w.ledger.janitorDeregisters = true, true })
		}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				w.drain = time.Hour
				w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: c.grace})
				p := w.startToDeregister(c.asked)
				c.before(w, p)
				var deregistered, unlistened, term time.Time
				w.setFault(func(call elbemu.Call) elbemu.Fault {
					switch call.Action {
					case "DeregisterTargets":
						if deregistered = time.Now(); w.ledger.count("release") == 0 {
							t.Error("it came before the release")
						}
					case "DeleteListener":
						unlistened = time.Now()
					}
					return elbemu.Fault{}
				})
				term = time.Now()
				p.term()
				if n := w.agentCalls("DeregisterTargets"); n != c.calls {
					t.Fatalf("deregistered %d times, want %d", n, c.calls)
				}
				if w.ledger.deregistered != (c.calls > 0) {
					t.Errorf("reported as deregistered: %v", w.ledger.deregistered)
				}
				if w.ledger.janitorUnbinds {
					return
				}
				near(t, "draining", deregistered.Sub(term), c.drains)
				near(t, "waiting", unlistened.Sub(deregistered), c.waits)
				w.checkEmpty()
			})
		})
	}
}

// startToDeregister starts an agent whose game ends before the agent is ready.
func (w *world) startToDeregister(wait time.Duration) *process {
	w.t.Helper()
	w.deregister = wait
	w.stopListening()
	p := w.start()
	w.awaitReady(p)
	return p
}

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+2*time.Second {
		t.Errorf("%s took %v, want %v", what, got, want)
	}
}

// A target group that AWS does not know may be new, and is no proof that the pod is no target.
func TestFailedDeregistrationDoesNotStopTheRelease(t *testing.T) {
	for name, failed := range map[string]elbemu.Fault{
		"throttled":                        elbemu.Throttle(),
		"AWS does not know the group, yet": elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found"),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				p := w.startToDeregister(10 * time.Second)
				w.setFault(func(call elbemu.Call) elbemu.Fault {
					if call.Action == "DeregisterTargets" {
						return failed
					}
					return elbemu.Fault{}
				})
				// There is nothing to wait for: the flows go on until the listener is deleted.
				if took := p.term(); took > 5*time.Second || w.ledger.deregistered {
					t.Errorf("ending took %v, reported as deregistered: %v", took, w.ledger.deregistered)
				}
				w.checkEmpty()
			})
		})
	}
}

func TestForeignTargetGroupIsNotDeregistered(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.startToDeregister(10 * time.Second)
		w.retag(w.ledger.now().Ports[0].TargetGroupARN, elb.TagLease, "lb-30000/another/9")
		p.term()
		if n := w.agentCalls("DeregisterTargets"); n != 0 || w.ledger.deregistered {
			t.Errorf("it deregistered %d targets of a foreign target group, and reported that: %v", n, w.ledger.deregistered)
		}
	})
}
