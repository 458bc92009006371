package lifecycle_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/e2e/elbemu"
)

// Players who play stay until SIGTERM and the end of the game.
func TestPreStopWithdrawsAndKeepsThePort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = time.Hour
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: 5 * time.Minute})
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
		// Three of the five minutes are left, and five seconds are for the release.
		if took := p.term(); took < 174*time.Second || took > 176*time.Second {
			t.Errorf("draining took %v", took)
		}
		w.checkEmpty()
	})
}

// The kubelet restarts a container of a pod that is not being deleted, for example
// because of its liveness probe.
func TestRestartedContainerKeepsItsPort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.takes = 20 * time.Millisecond
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setTermination(&pod.Termination{})
		p.PodStopping() // the preStop hook runs then too, and SIGTERM follows at once
		time.Sleep(10 * time.Millisecond)
		if took := p.term(); took > time.Second || w.ledger.count("release") != 0 || w.announced() != "" || w.ownPod.says() != 0 {
			t.Errorf("after %v released %d times, announced %q and %d", took, w.ledger.count("release"), w.announced(), w.ownPod.says())
		}
		w.checkBound(30000)
		p = w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		if w.announced() == "" || w.ownPod.says() == 0 {
			t.Errorf("the next agent announced %q and %d", w.announced(), w.ownPod.says())
		}
		// The game has exited in a pod that is not being deleted.
		w.stopListening()
		p.kill()
		p = w.start()
		w.awaitReady(p)
		p.term()
		w.checkEmpty()
	})
}

// SIGTERM follows the hook at once, while the agent is busy. Nobody knows when the next
// agent starts.
func TestPreStopWithdrawsAlsoWhenSIGTERMFollowsAtOnce(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.setTermination(&pod.Termination{})
		p := w.start()
		w.awaitReady(p)
		busy := make(chan struct{})
		w.ledger.change(func() { w.ledger.hang = busy })
		renewals := w.ledger.count("renew")
		w.await("renewal", func() bool { return w.ledger.count("renew") > renewals })
		p.PodStopping()
		p.stop()
		close(busy)
		p.term()
		if w.ledger.count("release") != 0 || w.announced() != "" || w.ownPod.says() != 0 || w.ownPod.condition().Reachable {
			t.Errorf("released %d times, announced %q and %d, condition %+v", w.ledger.count("release"), w.announced(), w.ownPod.says(), w.ownPod.condition())
		}
		w.checkBound(30000)
	})
}

// No pod that may end gets players, and none that lives on is without them for long.
func TestPreStopOfAPodThatLivesOnIsRevoked(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.setTermination(&pod.Termination{})
		p := w.start()
		w.awaitReady(p)
		p.PodStopping()
		synctest.Wait()
		if w.announced() != "" || w.ownPod.says() != 0 || p.Ready() == nil {
			t.Errorf("announced %q and %d, ready: %v", w.announced(), w.ownPod.says(), p.Ready())
		}
		renewed := w.ledger.count("renew")
		time.Sleep(25 * time.Second)
		if w.announced() != "" || w.ledger.count("renew") > renewed+1 {
			t.Errorf("announced %q, renewed %d times", w.announced(), w.ledger.count("renew")-renewed)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if w.announced() == "" || w.ownPod.says() == 0 || p.Ready() != nil || !w.ownPod.condition().Reachable {
			t.Errorf("announced %q and %d, ready: %v, condition %+v", w.announced(), w.ownPod.says(), p.Ready(), w.ownPod.condition())
		}
		w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: time.Hour})
		p.PodStopping()
		synctest.Wait()
		if w.announced() != "" {
			t.Errorf("the second preStop leaves %q", w.announced())
		}
		w.stopListening()
		p.term()
		w.checkEmpty()
	})
}

// A kubelet that shuts down calls the hook before the API server hears of it.
func TestTerminationThatIsSeenLateStaysWithdrawn(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ownPod.setTermination(&pod.Termination{})
		p := w.start()
		w.awaitReady(p)
		p.PodStopping()
		time.Sleep(12 * time.Second)
		w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: 10 * time.Minute})
		time.Sleep(5 * time.Minute)
		if w.announced() != "" || w.ownPod.says() != 0 {
			t.Errorf("announced %q and %d", w.announced(), w.ownPod.says())
		}
		w.stopListening()
		p.term()
		w.checkEmpty()
	})
}

// Somebody who waits for a draining pod may delete it again with less time.
func TestShorterGracePeriodEndsDraining(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = time.Hour
		p := w.start()
		w.awaitReady(p)
		w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: 30 * time.Minute})
		p.stop()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.checkBound(30000)
		w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: time.Minute})
		// It asks with each renewal.
		if took := p.term(); took < 50*time.Second || took > 95*time.Second {
			t.Errorf("the rest of draining took %v", took)
		}
		w.checkEmpty()
	})
}

func TestFailedWithdrawalIsRepeatedUntilItIsDone(t *testing.T) {
	for name, c := range map[string]struct {
		drain, down, most time.Duration
	}{
		"while draining":    {time.Hour, 5 * time.Minute, 7 * time.Minute},
		"after the release": {0, 10 * time.Second, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				w.drain = c.drain
				p := w.start()
				w.awaitReady(p)
				w.ownPod.setRefuse(errors.New("the API server is down"))
				p.stop()
				time.Sleep(c.down)
				w.ownPod.setRefuse(nil)
				start := time.Now()
				w.await("withdrawal", func() bool { return w.ownPod.says() == 0 })
				if took := time.Since(start); took > c.most-c.down {
					t.Errorf("withdrawn after %v", took)
				}
				w.stopListening()
				p.term()
				w.checkEmpty()
			})
		})
	}
}

// terminate begins the pod's termination.
func (w *world) terminate(p *process) {
	w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: time.Hour})
	p.PodStopping()
}

func TestTerminatingPodClaimsNoOtherPort(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.terminate(p)
		synctest.Wait()
		claims := w.ledger.count("claim")
		w.ledger.lose()
		if err := <-p.ended; err != nil || w.ledger.count("claim") != claims {
			t.Errorf("it ended with %v and claimed %d times more", err, w.ledger.count("claim")-claims)
		}
	})
}

func TestSignalDuringAnotherSignalIsApplied(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		w.ownPod.takes = 20 * time.Millisecond
		p := w.start()
		w.awaitReady(p)
		w.terminate(p)
		time.Sleep(10 * time.Millisecond)
		p.GameNotReady()
		time.Sleep(time.Second)
		synctest.Wait()
		p.GameReady()
		synctest.Wait()
		// Only what was applied can be revoked: the targets are then described again.
		before := w.agentCalls("DescribeTargetHealth")
		w.await("describe call", func() bool { return w.agentCalls("DescribeTargetHealth") > before })
		p.term()
	})
}
