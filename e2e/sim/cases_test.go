package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// conformance is what the allocator relies on, as far as ledger.Table says it.
var conformance = []struct {
	name string
	run  func(*testing.T, tables)
}{
	{"what is read is what was written", func(t *testing.T, l tables) {
		made(t, l.ports[0], "lb-30000")
		port, err := l.ports[1].Get(t.Context(), "lb-30000")
		expect(t, "get", err, nil)
		want := aPort()
		want.TouchedAt = want.TouchedAt.Truncate(time.Microsecond)
		if at := port.Value.TouchedAt; !at.Equal(want.TouchedAt) {
			t.Errorf("touched at %v, want %v", at, want.TouchedAt)
		}
		port.Value.TouchedAt = want.TouchedAt
		if port.Value != want || port.UID == "" || port.Version == "" || port.Name != "lb-30000" {
			t.Errorf("read %+v, wrote %+v", port, want)
		}
		_, err = l.claims[0].Create(t.Context(), "claim-u1", aClaim("10.0.0.1"))
		expect(t, "create", err, nil)
		claim, err := l.claims[1].Get(t.Context(), "claim-u1")
		expect(t, "get", err, nil)
		wanted := aClaim("10.0.0.1")
		wanted.RenewedAt = wanted.RenewedAt.Truncate(time.Microsecond)
		if !sameClaim(claim.Value, wanted) {
			t.Errorf("read %+v, wrote %+v", claim.Value, wanted)
		}
	}},
	{"of two creates one succeeds", func(t *testing.T, l tables) {
		made(t, l.ports[0], "lb-30000")
		_, err := l.ports[1].Create(t.Context(), "lb-30000", aPort())
		expect(t, "the second create", err, ledger.ErrConflict)
	}},
	{"absent is absent", func(t *testing.T, l tables) {
		_, err := l.ports[0].Get(t.Context(), "lb-30000")
		expect(t, "get", err, ledger.ErrAbsent)
		expect(t, "delete", deleteOf(l.ports[0], ledger.Record[ledger.Port]{Name: "lb-30000", UID: "u", Version: "1"}), nil)
	}},
	{"of two updates of one version one succeeds", func(t *testing.T, l tables) {
		first := made(t, l.ports[0], "lb-30000")
		second, err := l.ports[1].Update(t.Context(), changed(first))
		expect(t, "the first update", err, nil)
		if second.Version == first.Version || second.UID != first.UID {
			t.Errorf("updated %s@%s to %s@%s", first.UID, first.Version, second.UID, second.Version)
		}
		_, err = l.ports[0].Update(t.Context(), changed(changed(first)))
		expect(t, "the second update", err, ledger.ErrConflict)
	}},
	{"an update that changes nothing is no write", func(t *testing.T, l tables) {
		first := made(t, l.ports[0], "lb-30000")
		again, err := l.ports[0].Update(t.Context(), first)
		expect(t, "update", err, nil)
		if again.Version != first.Version {
			t.Errorf("version %s became %s", first.Version, again.Version)
		}
		_, err = l.ports[0].Update(t.Context(), changed(first))
		expect(t, "update after that", err, nil)
	}},
	{"an update needs a version", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		r.Version = ""
		if _, err := l.ports[0].Update(t.Context(), changed(r)); err == nil {
			t.Error("an update without a version succeeded")
		}
	}},
	{"an update of what was deleted is a conflict", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[1], r), nil)
		_, err := l.ports[0].Update(t.Context(), changed(r))
		expect(t, "update", err, ledger.ErrConflict)
		made(t, l.ports[1], "lb-30000")
		_, err = l.ports[0].Update(t.Context(), changed(r))
		expect(t, "update of another of that name", err, ledger.ErrConflict)
	}},
	{"a deletion is of the version that was read", func(t *testing.T, l tables) {
		first := made(t, l.ports[0], "lb-30000")
		second, err := l.ports[0].Update(t.Context(), changed(first))
		expect(t, "update", err, nil)
		expect(t, "delete of the old version", deleteOf(l.ports[1], first), ledger.ErrConflict)
		expect(t, "delete", deleteOf(l.ports[1], second), nil)
		expect(t, "delete again", deleteOf(l.ports[0], second), nil)
		made(t, l.ports[0], "lb-30000")
		expect(t, "delete of another of that name", deleteOf(l.ports[1], second), ledger.ErrConflict)
	}},
	{"claims are found by their address", func(t *testing.T, l tables) {
		for name, ip := range map[string]string{"claim-u1": "10.0.0.1", "claim-u2": "10.0.0.2", "claim-u3": "10.0.0.1"} {
			_, err := l.claims[0].Create(t.Context(), name, aClaim(ip))
			expect(t, "create", err, nil)
		}
		found, err := l.claims[1].OfPodIP(t.Context(), "10.0.0.1")
		expect(t, "list", err, nil)
		if len(found) != 2 || found[0].Name != "claim-u1" || found[1].Name != "claim-u3" {
			t.Errorf("found %+v", found)
		}
		found[0].Value.PodIP, found[0].Value.FormerIP = "10.0.0.9", "10.0.0.8"
		moved, err := l.claims[1].Update(t.Context(), found[0])
		expect(t, "update with what was listed", err, nil)
		for _, ip := range []string{"10.0.0.9", "10.0.0.8"} {
			found, err = l.claims[0].OfPodIP(t.Context(), ip)
			expect(t, "list", err, nil)
			if len(found) != 1 || found[0].Name != "claim-u1" {
				t.Errorf("found %+v", found)
			}
		}
		moved.Value.FormerIP = ""
		_, err = l.claims[0].Update(t.Context(), moved)
		expect(t, "update", err, nil)
		found, err = l.claims[1].OfPodIP(t.Context(), "10.0.0.8")
		expect(t, "list", err, nil)
		if len(found) != 0 {
			t.Errorf("found %+v", found)
		}
	}},
	{"a view has its own writes at once and those of others later", func(t *testing.T, l tables) {
		made(t, l.ports[0], "lb-30001")
		first := made(t, l.ports[0], "lb-30000")
		second, err := l.ports[0].Update(t.Context(), changed(first))
		expect(t, "update", err, nil)
		view := l.ports[0].View()
		if len(view) != 2 || view[0].Name != "lb-30000" || view[0].Version != second.Version {
			t.Errorf("the view is %+v", view)
		}
		eventually(t, "the other view has them", func() bool {
			return versionIn(l.ports[1].View(), "lb-30000") == second.Version && versionIn(l.ports[1].View(), "lb-30001") != ""
		})
	}},
	{"a view has what was read", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		_, err := l.ports[1].Get(t.Context(), "lb-30000")
		expect(t, "get", err, nil)
		if got := versionIn(l.ports[1].View(), "lb-30000"); got != r.Version {
			t.Errorf("the view has version %q, want %s", got, r.Version)
		}
	}},
	{"what was deleted does not come back into a view", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[0], r), nil)
		marker := made(t, l.ports[1], "lb-30001") // events come in order
		eventually(t, "both views have what came later", func() bool {
			if slices.ContainsFunc(l.ports[0].View(), func(r ledger.Record[ledger.Port]) bool { return r.Name == "lb-30000" }) {
				t.Error("the deleted record is in the view of who deleted it")
				return true
			}
			return versionIn(l.ports[0].View(), "lb-30001") == marker.Version && versionIn(l.ports[1].View(), "lb-30000") == ""
		})
	}},
}
