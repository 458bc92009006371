package lifecycle_test

import (
	"testing"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// TestReleaseLeavesAStrangersListener that forwards to this pod's target group: that
// group then stays in use, and who made the listener is for a person to find out.
func TestReleaseLeavesAStrangersListener(t *testing.T) {
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
