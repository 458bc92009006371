package lifecycle_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// TestALostClaimIsAnnouncedNoMore, from before its binding is touched and as long as
// there is no other: players who come to that port would meet somebody else.
func TestALostClaimIsAnnouncedNoMore(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.Action == "DeleteListener" && (w.announced() != "" || w.ownPod.says() != 0) {
				t.Errorf("unbound while it announces %q and port %d", w.announced(), w.ownPod.says())
			}
			return elbemu.Fault{}
		})
		w.ledger.take()
		w.ledger.change(func() {
			w.ledger.refuse = func(call string) error {
				if call == "claim" {
					return api.Errorf(api.Exhausted, "no free port")
				}
				return nil
			}
		})
		time.Sleep(10 * time.Minute) // of the bubble's clock
		if w.announced() != "" || w.ownPod.says() != 0 {
			t.Errorf("it announces %q and port %d, which are another's", w.announced(), w.ownPod.says())
		}
		w.setFault(nil)
		w.ledger.change(func() { w.ledger.refuse = nil })
		w.await("other endpoint", func() bool { return w.announced() == "games.elb.example:30001" && w.ownPod.says() == 30001 })
		w.awaitReady(p)
		p.term()
		w.checkEmpty()
	})
}
