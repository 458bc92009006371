package janitor_test

import (
	"context"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
)

// The cache still has records that were deleted while the watch was broken: an expired
// claim, a port whose cooldown is over, and a port to release.
func TestSweepRefreshesAStaleCache(t *testing.T) {
	expired, ends, over := claimIn(ledger.Granted), claimIn(ledger.ClaimReleasing, fence), portIn(ledger.Cooldown, "")
	ends.Name, over.Name = "claim-2", "lb-30001"
	held := portIn(ledger.Bound, "")
	held.Value.Holder = "claim-2"
	claims, ports := staleTable(expired, ends), staleTable(over, held)
	w := newTestObserver()
	c := newConfig(w, claims, ports)
	c.GetPod = noPod
	c.Count = func(action, _ string) { t.Errorf("counted %q", action) }
	j := janitor.New(c)
	w.sees(claims.CachedAll(), ports.CachedAll(), 0)
	w.now = w.now.Add(duration)
	if err := j.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	// claim-2 still had a port when the sweep was planned.
	if len(ports.cache) != 0 || len(claims.cache) != 1 || claims.cache[0].Name != "claim-2" {
		t.Errorf("left in the cache: %+v, %+v", claims.cache, ports.cache)
	}
	if err := j.Sweep(t.Context()); err != nil || len(claims.cache) != 0 {
		t.Errorf("left in the cache: %+v, %v", claims.cache, err)
	}
}

// However many ports are waiting, one refusal ends the requests of this pass.
func TestUnbindAsksALimitedBudgetOnce(t *testing.T) {
	one, two := portIn(ledger.Releasing, ledger.AgentAbsent), portIn(ledger.Releasing, ledger.AgentAbsent)
	two.Name = "lb-30001"
	ports := currentTable(one, two)
	asked := 0
	c := newConfig(newTestObserver(), staleTable[ledger.Claim](), ports)
	c.ReserveDeletions = func(context.Context, string, int) (int, time.Duration, error) {
		asked++
		return 0, time.Minute, nil
	}
	c.Count = func(action, _ string) { t.Errorf("counted %q", action) }
	j := janitor.New(c)
	for n := range 2 {
		if err := j.UnbindReleasing(t.Context()); err != nil || j.NextUnbind() != janitor.BudgetRetry || asked != n+1 {
			t.Errorf("pass %d: %v, the next in %v, asked %d times", n, err, j.NextUnbind(), asked)
		}
	}
	ports.cache = nil
	if err := j.UnbindReleasing(t.Context()); err != nil || j.NextUnbind() != 0 {
		t.Errorf("with nothing to unbind: %v, the next in %v", err, j.NextUnbind())
	}
}

// The cache may not show the port yet, because a grant may have been in progress when the
// release began. Without the claim nothing would account for that port.
func TestReleasedClaimIsKeptWhileItHoldsAPort(t *testing.T) {
	for state, kept := range map[ledger.PortState]bool{
		ledger.Claimed: true, ledger.Bound: true, ledger.Releasing: true, ledger.Cooldown: false, ledger.Free: false,
	} {
		t.Run(string(state), func(t *testing.T) {
			claims := currentTable(claimIn(ledger.ClaimReleasing, fence))
			ports := &uncachedPorts{currentTable(portIn(state, ""))}
			j := janitor.New(newConfig(newTestObserver(), claims, ports))
			if err := j.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if (len(claims.cache) == 1) != kept {
				t.Errorf("kept: %v, want %v", len(claims.cache) == 1, kept)
			}
		})
	}
}
