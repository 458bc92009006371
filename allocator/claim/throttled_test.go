package claim_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// pace gives the world's allocator an AWS budget, which is full.
func (w *world) pace() *pacer.Pacer {
	w.Helper()
	pay := pacer.New(pacer.Config{
		Budgets: ledgermem.NewTable(w.ledger.Budgets, ledgermem.Direct, nil), Claims: w.claims, Ports: w.ports, Limits: budget.Default,
		Now: func() time.Time { return w.now }, RenewEvery: claimDuration / 4, Age: w.service.Age, Log: slog.New(slog.DiscardHandler),
		Count: func(string, string) {},
	})
	w.service.Budget = pay
	if _, _, err := pay.ReserveDescribes(w.Context(), 1); err != nil {
		w.Fatal(err)
	}
	pay.Observe()
	w.now = w.now.Add(time.Minute)
	return pay
}

// TestReportOfThrottlingNeedsAClaim: a pod without a claim, and one with nothing to bind,
// cannot slow down the fleet.
func TestReportOfThrottlingNeedsAClaim(t *testing.T) {
	w := newWorld(t, 2)
	pay := w.pace()
	c := w.bind("a", "10.0.0.1")
	for n := range 20 {
		w.now = w.now.Add(10 * time.Second)
		stranger := api.RenewRequest{ClaimUID: "none", PodIP: "10.0.0.9", Pool: "default", Throttled: 1 + n}
		if _, err := w.service.Renew(t.Context(), holderOf("stranger"), stranger); err == nil {
			t.Fatal("a pod without a claim renewed it")
		}
		renewal := api.RenewRequest{ClaimUID: c.UID, PodIP: c.PodIP, Pool: c.Pool, Ports: c.Ports, Throttled: 1 + n}
		if _, err := w.service.Renew(t.Context(), holderOf("a"), renewal); err != nil {
			t.Fatal(err)
		}
	}
	if left, ok := pay.Left(); !ok || left.Speed() != 1 {
		t.Errorf("the speed is %v", left.Speed())
	}
}
