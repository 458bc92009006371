package janitor_test

import (
	"net/http"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
)

// TestIncompleteCacheDeletesNothingLive gives the janitor a cache without any lease, or
// without some: a lease that a listing of Leases leaves out is not gone.
func TestIncompleteCacheDeletesNothingLive(t *testing.T) {
	for name, c := range map[string]struct {
		see func(*account)
		// gone is what may still be deleted.
		gone []string
	}{
		// A lease that is not cached is read; only real orphans are deleted.
		"no lease at all": {func(w *account) { w.claims.Freeze(); w.ports.Freeze() }, append(whole("older", "unknown"), "lone/group", "restored/group")},
		"no port lease":   {func(w *account) { w.ports.Freeze() }, append(whole("older", "unknown"), "lone/group", "restored/group")},
		"no claim lease":  {func(w *account) { w.claims.Freeze() }, append(whole("releasing", "older", "unknown"), "bare/group", "lone/group", "restored/group")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAccount(t, 1)
			w.cast(0)
			c.see(w)
			if err := w.rounds(untilAll); err != nil {
				t.Error(err)
			}
			w.expectGone(on(0, c.gone)...)
			w.is(0, livePort, ledger.Bound)
			w.is(0, foreignPort, ledger.Blocked)
			if n := len(w.ledger.Claims.List()); n < 2 {
				t.Errorf("%d claims are left", n)
			}
			w.claims.Thaw()
			w.ports.Thaw()
			w.expectRecovery()
		})
	}
}

// TestStaleCacheDeletesNothingLive shows the janitor the port of a live pod as it was
// before that pod held it, and its claim as if it were being released.
func TestStaleCacheDeletesNothingLive(t *testing.T) {
	for _, state := range []ledger.PortState{ledger.Free, ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown} {
		t.Run(string(state), func(t *testing.T) {
			w := newAccount(t, 1)
			f := w.fenceOf(0, livePort, 2)
			group, listener := w.bind("live", "live", 0, livePort, 2)
			w.lives("live")
			w.record("live", 0, livePort, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener, Generation: 2})
			truth, _ := w.ledger.Ports.Row(f.Lease)
			claim := w.ledger.Claims.Change(truth.Value.Holder, func(c *ledger.Claim) { c.Ports[0].Fence = f })

			old := truth
			old.Version, old.Value.State, old.Value.Generation = "0", state, 1
			old.Value.TargetGroupARN, old.Value.ListenerARN = "arn:of-before", "arn:listener-of-before"
			if !old.Value.Held() {
				old.Value.Holder, old.Value.TargetGroupARN, old.Value.ListenerARN = "", "", ""
			}
			before := claim
			before.Version, before.Value.State = "0", ledger.ClaimReleasing
			w.ports.Freeze(old)
			w.claims.Freeze(before)
			err := w.rounds(untilAll)
			w.expectGone()
			if now, _ := w.ledger.Ports.Row(f.Lease); now != truth {
				t.Errorf("the port was %+v and is %+v", truth, now)
			}
			if now, there := w.ledger.Claims.Row(claim.Name); !there || now.Version != claim.Version {
				t.Errorf("the claim was %+v and is %+v", claim, now)
			}
			if err != nil {
				t.Errorf("it fails with %v although nothing is wrong", err)
			}
		})
	}
}

// TestBindingCreatedDuringAListingIsKept lets a pod claim and bind after the janitor has
// read its cache and before it lists AWS: the listing shows what the cache lacks.
func TestBindingCreatedDuringAListingIsKept(t *testing.T) {
	w := newAccount(t, 1)
	w.record("before", 0, livePort, ledger.Port{State: ledger.Free})
	w.ports.FreezeNow()
	bound := false
	w.door = func(r *http.Request) (*http.Response, error) {
		if !bound {
			bound = true
			group, listener := w.bind("live", "live", 0, livePort, 2)
			w.lives("live")
			w.ledger.Ports.Change(w.fenceOf(0, livePort, 1).Lease, func(p *ledger.Port) {
				p.State, p.Generation, p.Holder, p.PodUID, p.TargetGroupARN, p.ListenerARN = ledger.Bound, 2, "claim-uid-live", "uid-live", group, listener
			})
		}
		return w.emulator.RoundTrip(r)
	}
	if err := w.rounds(untilAll); err != nil {
		t.Error(err)
	}
	w.expectGone()
	w.is(0, livePort, ledger.Bound)
}
