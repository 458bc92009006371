package lifecycle_test

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// TestListenersThatChangedPlaces by hand are in each other's way, and in nobody else's:
// the pool has no other port for either.
func TestListenersThatChangedPlaces(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(_ *testing.T, w *world) {
		w.ports = []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}, {Name: "query", TargetPort: 7778, Protocol: api.UDP}}
		p := w.start()
		w.awaitReady(p)
		ports := w.ledger.now().Ports
		move := func(arn string, to int) {
			w.post(url.Values{"Action": {"ModifyListener"}, "ListenerArn": {arn}, "Port": {strconv.Itoa(to)}})
		}
		move(ports[0].ListenerARN, 30009)
		move(ports[1].ListenerARN, 30000)
		move(ports[0].ListenerARN, 30001)
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000", "lb-30001"} })
		w.await("damage is known", func() bool { return p.Ready() != nil })
		w.awaitReady(p)
		w.checkBound(30000, 30001)
		p.term()
		w.checkEmpty()
	})
}
