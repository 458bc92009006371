package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
)

// What an account with 3,000 bindings has, and what one audit of it may cost.
const (
	costBalancers = 60
	costPorts     = 50 // bindings on each
	// costPages is how many pages of 400 the 3,000 target groups and those of others
	// fill.
	costPages = 8
	// costRest is what may come on top, whatever the number of bindings.
	costRest = 8
)

// TestAnAuditOfThreeThousandBindings asks AWS once for each load balancer and once for
// each page of target groups. Whose they are is told by their names and by what is
// recorded. Only what belongs to others is asked for its tags, until that has been
// answered often enough.
func TestAnAuditOfThreeThousandBindings(t *testing.T) {
	w := newAuditWorld(t, costBalancers)
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
		w.stranger(fmt.Sprintf("stranger %d", balancer), balancer, 443)
	}
	const batches = costBalancers / 20
	for n := range 3 {
		w.costs(fmt.Sprintf("with a listener of others on each load balancer, audit %d", n+1), costBalancers, costPages, batches)
	}
	w.costs("once it is known whose they are", costBalancers, costPages, 0)
	w.isGone()
}

// costs lets the janitor audit once and holds the calls to those numbers.
func (w *auditWorld) costs(what string, listeners, groups, tags int) {
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
