package lifecycle_test

import (
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
		if took := p.term(); took > time.Second || w.ledger.count("release") != 0 || w.announced() == "" || w.ownPod.says() == 0 {
			t.Errorf("after %v released %d times, announced %q and %d", took, w.ledger.count("release"), w.announced(), w.ownPod.says())
		}
		w.checkBound(30000)
		p = w.start()
		w.awaitReady(p)
		w.checkBound(30000)
		// The game has exited in a pod that is not being deleted.
		w.stopListening()
		p.kill()
		p = w.start()
		w.awaitReady(p)
		p.term()
		w.checkEmpty()
	})
}

// terminate begins the pod's termination.
func (w *world) terminate(p *process) {
	w.ownPod.setTermination(&pod.Termination{Deleted: true, Grace: time.Hour})
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
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
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
