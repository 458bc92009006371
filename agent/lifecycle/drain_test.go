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

func TestDrainRenewsAndEndsInTime(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = 10 * time.Minute
		p := w.start()
		w.awaitReady(p)
		before := w.ledger.count("renew")
		p.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		w.checkBound(30000)
		if w.announced() != "" || w.ownPod.says() != 0 || w.ledger.count("release") != 0 {
			t.Errorf("announced %q and %d, released %d times", w.announced(), w.ownPod.says(), w.ledger.count("release"))
		}
		if took := p.term(); took != 9*time.Minute {
			t.Errorf("the rest of draining took %v", took)
		}
		if n := w.ledger.count("renew") - before; n < 18 || n > 23 {
			t.Errorf("renewed %d times in ten minutes", n)
		}
		w.checkEmpty()
	})
}

func TestSecondSignalEndsDraining(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = time.Hour
		p := w.start()
		w.awaitReady(p)
		p.stop()
		time.Sleep(time.Minute)
		close(p.hurry)
		if took := p.term(); took > time.Second {
			t.Errorf("ending took %v", took)
		}
		w.checkEmpty()
	})
}

func TestDrainingEnds(t *testing.T) {
	for name, c := range map[string]struct {
		during      func(*world, *process)
		grace, want time.Duration
	}{
		"the game closes its port": {func(w *world, _ *process) {
			time.Sleep(90 * time.Second)
			w.stopListening()
		}, time.Hour, 90 * time.Second},
		"the game reports that it is drained": {func(_ *world, p *process) {
			time.Sleep(90 * time.Second)
			p.GameDrained()
		}, time.Hour, 90 * time.Second},
		"the game was drained before": {func(_ *world, p *process) { p.GameDrained() }, time.Hour, 0},
		"grace ends":                  {func(*world, *process) {}, 30 * time.Second, 25 * time.Second},
		"sockets unreadable":          {func(w *world, _ *process) { w.listens = func() (bool, error) { return false, errors.New("no /proc") } }, 30 * time.Second, 25 * time.Second},
		"termination unknown":         {func(w *world, _ *process) { w.ownPod.setTermination(nil) }, time.Hour, 25 * time.Second},
		"no grace":                    {func(*world, *process) {}, 2 * time.Second, 0},
		"nothing listens":             {func(w *world, _ *process) { w.stopListening() }, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				w.drain = 10 * time.Minute
				w.ownPod.setTermination(&pod.Termination{Begun: true, Grace: c.grace})
				if name == "sockets unreadable" {
					c.during(w, nil) // before the agent starts
				}
				p := w.start()
				w.awaitReady(p)
				before := slices.Contains([]string{"the game was drained before", "nothing listens", "termination unknown"}, name)
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

// Players may well be on a port that waits for its repair.
func TestDamagedPortIsDrained(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.drain = 10 * time.Minute
		p := w.start()
		w.awaitReady(p)
		w.ledger.change(func() {
			w.ledger.rebind, w.ledger.queue = []string{"lb-30000"}, func() time.Duration { return time.Minute }
		})
		w.await("damage is known", func() bool { return p.Ready() != nil })
		time.AfterFunc(90*time.Second, w.stopListening)
		if took := p.term(); took < 90*time.Second || took > 92*time.Second {
			t.Errorf("ending took %v, want until the game listens no more", took)
		}
		w.checkEmpty()
	})
}
