package janitor_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/ledgermem"
)

// Latencies of AWS and of the API server.
const (
	awsLatency  = 100 * time.Millisecond
	kubeLatency = 5 * time.Millisecond
)

// An account whose limits AWS has raised is used: while there is something to delete, the
// janitor makes as many deletions as the budget allows.
func TestUnbindingUsesRaisedLimits(t *testing.T) {
	for _, perSecond := range []float64{3, 10, 30} {
		t.Run(fmt.Sprint(perSecond, " a second"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := budget.Default()
				limits.Mutating = budget.Bucket{Burst: 2 * perSecond, PerSecond: perSecond}
				limits.All = budget.Bucket{Burst: 8 * perSecond, PerSecond: 4 * perSecond}
				ports := int(20 * perSecond)
				w := budgetedAccount(t, ports, limits)
				start := time.Now()
				for w.left() > 0 && time.Since(start) < time.Hour {
					w.must(w.janitor.UnbindReleasing(t.Context()))
					time.Sleep(max(w.janitor.NextUnbind(), 10*time.Millisecond)) // in the bubble
				}
				took := time.Since(start).Seconds()
				bound := (float64(2*ports) - limits.Mutating.Burst) / perSecond
				t.Logf("it took %.1f s; the tokens take %.1f s", took, bound)
				if w.left() > 0 || took > 1.1*bound {
					t.Errorf("%d ports are left after %.1f s, want at most %.1f s", w.left(), took, 1.1*bound)
				}
			})
		})
	}
}

// budgetedAccount has that many releasing ports, a budget with these limits, and latencies.
func budgetedAccount(t *testing.T, ports int, limits budget.Limits) *account {
	t.Helper()
	w := newAccountOn(t, (ports+49)/50, elbemu.Config{Now: time.Now})
	for n := range ports {
		balancer, port, pod := n/50, firstAudit+n%50, fmt.Sprintf("game-%d", n)
		group, listener := w.bind(pod, pod, balancer, port, 1)
		w.record(pod, balancer, port, ledger.Port{State: ledger.Releasing, TargetGroupARN: group, ListenerARN: listener, Deregistered: true})
	}
	pay := pacer.New(pacer.Config{
		Budgets: ledgermem.NewTable(w.ledger.Budgets, slowly, nil), Claims: w.claims, Ports: w.ports,
		Limits: func() budget.Limits { return limits }, Now: time.Now, RenewEvery: time.Minute, Age: func(string, string) time.Duration { return 0 },
		Log: slog.New(slog.DiscardHandler), Count: func(string, string) {},
	})
	_, _, err := pay.Delete(t.Context(), "", 1) // makes the budget, which is empty
	w.must(err)
	time.Sleep(time.Minute) // until it is full
	w.janitor.ReserveDeletions, w.janitor.ReserveDeregister, w.janitor.Now = pay.Delete, pay.Deregister, time.Now
	w.door = func(r *http.Request) (*http.Response, error) {
		time.Sleep(awsLatency)
		return w.emulator.RoundTrip(r)
	}
	return w
}

// slowly is the network to the API server.
func slowly(ctx context.Context, c ledgermem.Call, apply func() error) error {
	time.Sleep(kubeLatency)
	return ledgermem.Direct(ctx, c, apply)
}

// left is how many ports are not unbound yet.
func (w *account) left() (n int) {
	for _, p := range w.ports.CachedAll() {
		if p.Value.State == ledger.Releasing {
			n++
		}
	}
	return n
}
