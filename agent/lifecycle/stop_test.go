package lifecycle_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/e2e/elbemu"
)

// TestPreStopWithdraws: when the pod's termination starts nobody new should come,
// but who is on stays until SIGTERM and the game's end.
func TestPreStopWithdraws(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = time.Hour
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setTermination(&pod.Termination{Deleted: true, Grace: 5 * time.Minute})
		p.PodStopping()
		synctest.Wait()
		if w.announced() != "" || w.ownPod.says() != 0 || w.ownPod.condition().Reachable || p.Ready() == nil {
			t.Errorf("announced %q and %d, condition %+v", w.announced(), w.ownPod.says(), w.ownPod.condition())
		}
		renewed := w.ledger.count("renew")
		time.Sleep(2 * time.Minute)
		w.checkBound(30000)
		if w.ledger.count("renew") < renewed+3 || w.announced() != "" {
			t.Errorf("renewed %d times, announced %q", w.ledger.count("renew")-renewed, w.announced())
		}
		// Three of the five minutes are left, and five seconds are for giving back.
		if took := p.term(); took < 174*time.Second || took > 176*time.Second {
			t.Errorf("draining took %v", took)
		}
		w.checkEmpty()
	})
}

// TestARestartedContainerKeepsItsPort: a container whose pod is not being deleted
// is stopped to be started again, by a liveness probe for one.
func TestARestartedContainerKeepsItsPort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.takes = 20 * time.Millisecond
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setTermination(&pod.Termination{})
		p.PodStopping() // a preStop hook runs then, too, and SIGTERM follows at once
		time.Sleep(10 * time.Millisecond)
		if took := p.term(); took > time.Second || w.ledger.count("release") != 0 || w.announced() == "" || w.ownPod.says() == 0 {
			t.Errorf("after %v released %d times, announced %q and %d", took, w.ledger.count("release"), w.announced(), w.ownPod.says())
		}
		w.checkBound(30000)
		p = w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		// The pod's work is done: nothing listens, and nobody deletes it.
		w.stopListening()
		p.kill()
		p = w.start()
		w.awaitReady(p)
		p.term()
		w.checkEmpty()
	})
}

// TestDrainingEnds: by the game's closing its port, by its word, by the end of the
// grace period, or not at all when nothing listens.
func TestDrainingEnds(t *testing.T) {
	for name, c := range map[string]struct {
		during      func(*world, *process)
		grace, want time.Duration
	}{
		"the game closes its port": {func(w *world, _ *process) {
			time.Sleep(90 * time.Second)
			w.stopListening()
		}, time.Hour, 90 * time.Second},
		"the game says so": {func(_ *world, p *process) {
			time.Sleep(90 * time.Second)
			p.GameDrained()
		}, time.Hour, 90 * time.Second},
		"the game said so before":         {func(_ *world, p *process) { p.GameDrained() }, time.Hour, 0},
		"grace ends":                      {func(*world, *process) {}, 30 * time.Second, 25 * time.Second},
		"sockets unreadable":              {func(w *world, _ *process) { w.listens = func() (bool, error) { return false, errors.New("no /proc") } }, 30 * time.Second, 25 * time.Second},
		"nobody can tell whether it ends": {func(w *world, _ *process) { w.ownPod.setTermination(nil) }, time.Hour, 25 * time.Second},
		"no grace":                        {func(*world, *process) {}, 2 * time.Second, 0},
		"nothing listens":                 {func(w *world, _ *process) { w.stopListening() }, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				w.drain = 10 * time.Minute
				w.ownPod.setTermination(&pod.Termination{Deleted: true, Grace: c.grace})
				if name == "sockets unreadable" {
					c.during(w, nil) // before the agent starts
				}
				p := w.start()
				w.awaitReady(p)
				before := slices.Contains([]string{"the game said so before", "nothing listens", "nobody can tell whether it ends"}, name)
				if before {
					c.during(w, p)
				} else if name != "sockets unreadable" {
					go c.during(w, p)
				}
				most := c.want + 2*time.Second
				if c.want == 0 {
					most = 0
				}
				if took := p.term(); took < c.want || took > most {
					t.Errorf("ending took %v, want %v", took, c.want)
				}
				w.checkEmpty()
			})
		})
	}
}

// stopping begins a pod's termination.
func (w *world) stopping(p *process) {
	w.ownPod.setTermination(&pod.Termination{Deleted: true, Grace: time.Hour})
	p.PodStopping()
}

// TestAPodThatEndsIsNotAnnounced: not when it is bound only then, not when it is
// repaired, and not because the API server was away before.
func TestAPodThatEndsIsNotAnnounced(t *testing.T) {
	for name, c := range map[string]struct{ before, after func(*world, *process) }{
		"bound only then": {
			func(w *world, _ *process) { w.ledger.change(func() { w.ledger.turn = turns(time.Minute) }) },
			func(w *world, _ *process) { w.await("bound", func() bool { return w.ledger.count("bound") == 1 }) },
		},
		"repaired then": {
			func(w *world, p *process) { w.awaitReady(p) },
			func(w *world, _ *process) {
				must[any](w)(nil, w.aws.DeleteListener(w.t.Context(), w.ledger.now().Ports[0].ListenerARN))
				w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
				w.await("repair", func() bool { return w.ledger.count("bound") == 2 })
				w.ledger.change(func() { w.ledger.rebind = nil })
			},
		},
		"annotated late": {
			func(w *world, p *process) {
				w.ownPod.setRefuse(errors.New("connection refused"))
				w.awaitReady(p)
			},
			func(w *world, _ *process) { w.ownPod.setRefuse(nil) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				if name == "bound only then" {
					c.before(w, nil)
				}
				p := w.start()
				if name != "bound only then" {
					c.before(w, p)
				}
				told := len(w.ownPod.recorded())
				w.stopping(p)
				time.Sleep(time.Second)
				c.after(w, p)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if w.announced() != "" || w.ownPod.says() != 0 || slices.Contains(w.ownPod.recorded()[told:], "Announced") {
					t.Errorf("announced %q and %d, events %v", w.announced(), w.ownPod.says(), w.ownPod.recorded())
				}
				w.checkBound(30000)
				p.term()
				w.checkEmpty()
			})
		})
	}
}

// TestWhatAnEarlierAgentSaidIsTakenBack: the condition may be its, and this agent
// could say nothing yet.
func TestWhatAnEarlierAgentSaidIsTakenBack(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		synctest.Wait()
		w.ownPod.setRefuse(errors.New("connection refused")) // for who is killed, too
		p.kill()
		p = w.start()
		w.awaitReady(p)
		w.ownPod.setRefuse(nil)
		if !w.ownPod.condition().Reachable {
			t.Fatal("the earlier agent's word is gone already")
		}
		w.stopping(p)
		synctest.Wait()
		if w.ownPod.condition().Reachable {
			t.Error("the pod is said to be reachable")
		}
		p.term()
	})
}

// TestWhoEndsClaimsNoOtherPort.
func TestWhoEndsClaimsNoOtherPort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.stopping(p)
		synctest.Wait()
		claims := w.ledger.count("claim")
		w.ledger.take()
		if err := <-p.ended; err != nil || w.ledger.count("claim") != claims {
			t.Errorf("it ended with %v and claimed %d times more", err, w.ledger.count("claim")-claims)
		}
	})
}

// TestWordsAreHeardAtOnce: also one that is said while another is heeded.
func TestWordsAreHeardAtOnce(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.takes = 20 * time.Millisecond
		p := w.start()
		w.awaitReady(p)
		w.stopping(p)
		time.Sleep(10 * time.Millisecond)
		p.GameNotReady()
		time.Sleep(time.Second)
		synctest.Wait()
		if reason := w.ownPod.condition().Reason; reason != "GameNotReady" {
			t.Errorf("a second later the condition says %s", reason)
		}
		p.term()
	})
}

// TestAListenerIsNotMadeAgainBecauseTheTargetFailed, which would cost the account
// another of its calls.
func TestAListenerIsNotMadeAgainBecauseTheTargetFailed(t *testing.T) {
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

// TestADamagedPortIsDrained: players may well be on a port that was found damaged and
// waits for its repair.
func TestADamagedPortIsDrained(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = 10 * time.Minute
		p := w.start()
		w.awaitReady(p)
		w.ledger.change(func() {
			w.ledger.rebind, w.ledger.turn = []string{"lb-30000"}, func() time.Duration { return time.Minute }
		})
		w.await("damage is known", func() bool { return p.Ready() != nil })
		time.AfterFunc(90*time.Second, w.stopListening)
		if took := p.term(); took < 90*time.Second || took > 92*time.Second {
			t.Errorf("ending took %v, want until the game listens no more", took)
		}
		w.checkEmpty()
	})
}
