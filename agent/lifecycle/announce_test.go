package lifecycle_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
)

func TestMovedClaimIsAnnouncedAnew(t *testing.T) {
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

func TestPodServesWithoutAnnotations(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		w.ownPod.setRefuse(errors.New("forbidden"))
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setRefuse(nil)
		w.await("annotation", func() bool { return w.ownPod.says() == 30000 })
		p.term()
	})
}

func TestTerminatingPodIsNotAnnounced(t *testing.T) {
	for name, c := range map[string]struct{ before, after func(*world, *process) }{
		"bound only then": {
			func(w *world, _ *process) { w.ledger.change(func() { w.ledger.queue = waits(time.Minute) }) },
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
				w.terminate(p)
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

// This agent could not set any condition yet.
func TestConditionOfAnEarlierAgentIsSetToFalse(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		synctest.Wait()
		w.ownPod.setRefuse(errors.New("connection refused")) // also for the killed agent
		p.kill()
		p = w.start()
		w.awaitReady(p)
		w.ownPod.setRefuse(nil)
		if !w.ownPod.condition().Reachable {
			t.Fatal("the earlier agent's condition is gone already")
		}
		w.terminate(p)
		synctest.Wait()
		if w.ownPod.condition().Reachable {
			t.Error("the condition says that the pod is reachable")
		}
		p.term()
	})
}

// The game waits for the claim, and the API server reviews tokens for both.
func TestConditionDoesNotDelayTheClaim(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		synctest.Wait()
		if p.Started() != nil || w.ownPod.count() != 0 {
			t.Errorf("started: %v, and the condition was set %d times before", p.Started(), w.ownPod.count())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w.ownPod.count() != 1 {
			t.Errorf("a second later the condition was set %d times, want once", w.ownPod.count())
		}
		p.term()
	})
}

func TestGameStartsWhileTheAPIServerHangs(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.annotating = 500 * time.Millisecond // the watch writes later
		p := w.start()
		synctest.Wait()
		if p.Started() != nil || w.announced() == "" || w.ownPod.says() != 0 {
			t.Errorf("started: %v, announced %q, annotated %d", p.Started(), w.announced(), w.ownPod.says())
		}
		w.await("annotation", func() bool { return w.ownPod.says() == 30000 })
		p.term()
	})
}
