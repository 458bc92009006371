package janitor_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
)

// An account with 3,000 bindings, and how many calls one audit of it may cost.
const (
	costBalancers = 60
	costPorts     = 50 // bindings on each
	// costPages is how many pages of 400 the 3,000 target groups and foreign ones fill.
	costPages = 8
	// costRest is the number of further calls, which does not depend on the bindings.
	costRest = 8
)

// TestAuditCostOfThreeThousandBindings: an audit makes one call per load balancer and one
// per page of target groups. Names and records identify our bindings. Only the tags of
// foreign ones are read, until that has been answered often enough.
func TestAuditCostOfThreeThousandBindings(t *testing.T) {
	w := newAccount(t, costBalancers)
	for balancer := range costBalancers {
		for n := range costPorts {
			port, pod := firstAudit+n, fmt.Sprintf("game-%d-%d", balancer, n)
			group, listener := w.bind(pod, pod, balancer, port, 1)
			w.lives(pod)
			w.record(pod, balancer, port, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
		}
	}
	w.costs("of bindings alone", costBalancers, costPages, 0)
	for balancer := range costBalancers {
		w.foreign(fmt.Sprintf("stranger %d", balancer), balancer, 443)
	}
	const batches = costBalancers / 20
	for n := range 3 {
		w.costs(fmt.Sprintf("with a foreign listener on each load balancer, audit %d", n+1), costBalancers, costPages, batches)
	}
	w.costs("once the foreign listeners are known", costBalancers, costPages, 0)
	w.expectGone()
}

// costs audits once and expects these numbers of calls.
func (w *account) costs(what string, listeners, groups, tags int) {
	w.Helper()
	before := w.emulator.CallCounts()
	if err := w.janitor.Audit(w.Context()); err != nil {
		w.Fatal(err)
	}
	sum, calls := 0, make(map[string]int)
	for action, count := range w.emulator.CallCounts() {
		if n := count.Total - before[action].Total; n > 0 {
			calls[action] = n
		}
		if strings.HasPrefix(action, "Describe") {
			sum += calls[action]
		}
	}
	w.Logf("an audit %s: %d describe calls: %v", what, sum, calls)
	if calls["DescribeListeners"] > listeners || calls["DescribeTargetGroups"] > groups || calls["DescribeTags"] > tags || sum > listeners+groups+tags+costRest {
		w.Errorf("an audit %s takes %v; want at most %d + %d + %d", what, calls, listeners, groups, tags)
	}
}
