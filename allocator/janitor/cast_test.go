package janitor_test

import (
	"fmt"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
)

// The listener ports of the cast.
const (
	livePort = firstAudit + iota
	releasingPort
	barePort
	crashedPort
	olderPort
	lonePort
	unknownPort
	livingPort
	cooldownPort
	restoredPort
	foreignPort
)

// cast creates one binding of each kind on a load balancer: those that must stay, and
// those that the janitor deletes. Names end in the number of the load balancer.
func (w *account) cast(balancer int) {
	w.Helper()
	name := func(what string) string { return fmt.Sprintf("%s %d", what, balancer) }
	pod := func(what string) string { return fmt.Sprintf("%s-%d", what, balancer) }

	// A live pod that holds its port.
	group, listener := w.bind(name("live"), pod("live"), balancer, livePort, 1)
	w.lives(pod("live"))
	w.record(pod("live"), balancer, livePort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	// Two that were released, one of them before it had a listener.
	group, listener = w.bind(name("releasing"), pod("releasing"), balancer, releasingPort, 1)
	w.record(pod("releasing"), balancer, releasingPort, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener})
	group = w.group(name("bare"), pod("bare"), w.fenceOf(balancer, barePort, 1))
	w.record(pod("bare"), balancer, barePort, ledger.Port{State: ledger.Releasing, TargetGroupARN: group})
	// One whose pod has crashed.
	group, listener = w.bind(name("crashed"), pod("crashed"), balancer, crashedPort, 1)
	w.record(pod("crashed"), balancer, crashedPort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	// Leftovers of an earlier holder: a whole binding, and a target group alone.
	w.bind(name("older"), pod("older"), balancer, olderPort, 1)
	w.record(pod("older"), balancer, olderPort, ledger.Port{State: ledger.Free, Generation: 2})
	w.group(name("lone"), pod("lone"), w.fenceOf(balancer, lonePort, 1))
	w.record(pod("lone"), balancer, lonePort, ledger.Port{State: ledger.Free, Generation: 2})
	// Two whose port lease was lost; the pod of one is live and will present it.
	w.bind(name("unknown"), pod("unknown"), balancer, unknownPort, 1)
	w.bind(name("living"), pod("living"), balancer, livingPort, 1)
	w.lives(pod("living"))
	w.record(pod("cooldown"), balancer, cooldownPort, ledger.Port{State: ledger.Cooldown})
	// A restored lease without a target group, which exists.
	w.group(name("restored"), pod("restored"), w.fenceOf(balancer, restoredPort, 1))
	w.record(pod("restored"), balancer, restoredPort, ledger.Port{State: ledger.Releasing, Restored: true})
	// A foreign listener that is recorded.
	w.foreign(name("stranger"), balancer, foreignPort)
	w.record("", balancer, foreignPort, ledger.Port{State: ledger.Blocked, Foreign: w.made[name("stranger")+"/listener"]})
}

// whole are the names of the two parts of bindings.
func whole(names ...string) (both []string) {
	for _, name := range names {
		both = append(both, name+"/group", name+"/listener")
	}
	return both
}

// on puts a load balancer into names of the cast.
func on(balancer int, names []string) (of []string) {
	for _, name := range names {
		actor, what, _ := strings.Cut(name, "/")
		of = append(of, fmt.Sprintf("%s %d/%s", actor, balancer, what))
	}
	return of
}

// deletedInAll is everything of a cast that the janitor deletes when nothing is wrong;
// statesAfter are the states of its ports after that.
var deletedInAll = append(whole("releasing", "crashed", "older", "unknown"), "bare/group", "lone/group", "restored/group")

var statesAfter = map[int]ledger.PortState{
	livePort: ledger.Bound, releasingPort: ledger.Free, barePort: ledger.Free, crashedPort: ledger.Free, olderPort: ledger.Free, lonePort: ledger.Free,
	cooldownPort: ledger.Free, restoredPort: ledger.Free, foreignPort: ledger.Blocked,
}

// expectStates expects these states of a cast's ports, and otherwise those of when nothing is
// wrong.
func (w *account) expectStates(balancer int, states map[int]ledger.PortState) {
	w.Helper()
	for port, want := range statesAfter {
		if other, named := states[port]; named {
			want = other
		}
		w.is(balancer, port, want)
	}
}
