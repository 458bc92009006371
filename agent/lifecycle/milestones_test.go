package lifecycle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

func TestAgentReportsEachMilestoneOnce(t *testing.T) {
	inWorld(t, elbemu.Config{Delays: &elbemu.Delays{Registration: 10 * time.Second}}, func(t *testing.T, w *world) {
		began := time.Now()
		w.ledger.change(func() {
			w.ledger.queue = func() time.Duration { return max(0, 3*time.Second-time.Since(began)) }
		})
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		// The next renewals are lost, and what they say with them.
		lost := 0
		w.ledger.change(func() {
			w.ledger.refuse = func(call string) error {
				if call != "renew" || lost == 2 {
					return nil
				}
				lost++
				return api.Errorf(api.Unavailable, "no answer")
			}
		})
		w.awaitReady(p)
		time.Sleep(time.Hour)
		synctest.Wait()
		reports := w.ledger.milestones()
		var got api.Milestones
		for _, m := range reports {
			for _, one := range []struct {
				name      string
				said, all *float64
			}{{"granted", &m.Granted, &got.Granted}, {"bound", &m.Bound, &got.Bound}, {"announced", &m.Announced, &got.Announced}, {"healthy", &m.Healthy, &got.Healthy}} {
				if *one.said != 0 && *one.all != 0 {
					t.Errorf("milestone %s was reported twice: %+v", one.name, reports)
				}
				*one.all += *one.said
			}
		}
		if got.Granted > 1 || got.Bound < 3 || got.Bound > 8 || got.Announced < got.Bound || got.Announced > 8 || got.Healthy < 10 {
			t.Errorf("the milestones are %+v", got)
		}
		p.kill()
		p = w.start()
		w.awaitReady(p)
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, m := range w.ledger.milestones()[len(reports):] {
			if m != (api.Milestones{}) {
				t.Errorf("an agent that was restarted reports %+v", m)
			}
		}
		p.term()
	})
}
