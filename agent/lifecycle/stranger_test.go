package lifecycle_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

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

// TestAStrangersListenerThatGivesWay: somebody's own listener took the place of this
// pod's for a while. It is not this pod's to delete, and elsewhere it is in nobody's way.
func TestAStrangersListenerThatGivesWay(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		before := w.ledger.now().Ports[0]
		must[any](w)(nil, w.aws.DeleteListener(t.Context(), before.ListenerARN))
		theirs := must[string](w)(w.aws.CreateListener(t.Context(), elb.ListenerSpec{
			LoadBalancerARN: w.lb, Port: 30000, Protocol: api.UDP, TargetGroupARN: before.TargetGroupARN,
		}))
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
		w.await("damage is known", func() bool { return p.Ready() != nil })
		time.Sleep(3 * time.Minute) // of the bubble's clock
		if w.ledger.count("bound") != 1 {
			t.Error("it was bound by a stranger's listener")
		}
		w.post(url.Values{"Action": {"ModifyListener"}, "ListenerArn": {theirs}, "Port": {"30009"}})
		w.awaitReady(p)
		listeners := must[[]elb.Listener](w)(w.aws.Listeners(t.Context(), w.lb))
		own := w.ledger.now().Ports[0].ListenerARN
		slices.SortFunc(listeners, func(a, b elb.Listener) int { return a.Port - b.Port })
		if len(listeners) != 2 || listeners[0].ARN != own || listeners[0].Port != 30000 || listeners[1].ARN != theirs || listeners[1].Port != 30009 {
			t.Errorf("listeners are %+v; %s is own and %s a stranger's", listeners, own, theirs)
		}
		p.term()
	})
}
