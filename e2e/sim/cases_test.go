package sim

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
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
		want.UpdatedAt = want.UpdatedAt.Truncate(time.Microsecond)
		if at := port.Value.UpdatedAt; !at.Equal(want.UpdatedAt) {
			t.Errorf("touched at %v, want %v", at, want.UpdatedAt)
		}
		port.Value.UpdatedAt = want.UpdatedAt
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
	{"a cordon and the budget are read as they were written", func(t *testing.T, l tables) {
		at := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
		name := ledger.CordonName("50dc6c495c0c9188")
		made, err := l.balancers[0].Create(t.Context(), name, ledger.Cordon{LoadBalancerARN: "arn:lb/50dc6c495c0c9188", Cordoned: "alice: soon", UpdatedAt: at})
		expect(t, "cordon", err, nil)
		read, err := l.balancers[1].Get(t.Context(), name)
		expect(t, "get", err, nil)
		if v := read.Value; v.LoadBalancerARN != "arn:lb/50dc6c495c0c9188" || v.Cordoned != "alice: soon" || !v.UpdatedAt.Equal(at.Truncate(time.Microsecond)) || read.Version != made.Version {
			t.Errorf("read %+v", read)
		}
		state := budget.State{Counted: time.Minute + time.Nanosecond, Tokens: budget.Tokens{Mutating: 1.5, Registration: -2, All: 3}, Describes: 0.25, Open: []budget.Permit{{Who: "claim-u1", Cost: budget.Tokens{All: 1}, Repeats: 1}}}
		_, err = l.budgets[0].Create(t.Context(), ledger.BudgetName, ledger.Budget{State: state, UpdatedAt: at})
		expect(t, "create", err, nil)
		money, err := l.budgets[1].Get(t.Context(), ledger.BudgetName)
		expect(t, "get", err, nil)
		if !reflect.DeepEqual(money.Value.State, state) || !money.Value.UpdatedAt.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("read %+v", money)
		}
		eventually(t, "the other view has them", func() bool {
			seen, ok := l.balancers[1].Cached(name)
			_, paid := l.budgets[1].Cached(ledger.BudgetName)
			return ok && paid && seen.Value.Cordoned == "alice: soon"
		})
	}},
	{"of many concurrent updates of one version one succeeds", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		won := make(chan error)
		for n := range 8 {
			go func() {
				other := r
				other.Value.Holder = fmt.Sprint("claim-", n)
				_, err := l.ports[n%2].Update(context.Background(), other)
				won <- err
			}()
		}
		winners := 0
		for range 8 {
			switch err := <-won; {
			case err == nil:
				winners++
			case !errors.Is(err, ledger.ErrConflict):
				t.Errorf("update: %v", err)
			}
		}
		if winners != 1 {
			t.Errorf("%d of 8 succeeded", winners)
		}
	}},
	{"when it was created stays, in whole seconds", func(t *testing.T, l tables) {
		first := made(t, l.ports[0], "lb-30000")
		if first.CreatedAt.IsZero() || !first.CreatedAt.Equal(first.CreatedAt.Truncate(time.Second)) {
			t.Errorf("created at %v", first.CreatedAt)
		}
		forged := changed(first)
		forged.CreatedAt = first.CreatedAt.Add(-time.Hour)
		_, err := l.ports[0].Update(t.Context(), forged)
		expect(t, "update", err, nil)
		read, err := l.ports[1].Get(t.Context(), "lb-30000")
		expect(t, "get", err, nil)
		if !read.CreatedAt.Equal(first.CreatedAt) {
			t.Errorf("created at %v, and after an update at %v", first.CreatedAt, read.CreatedAt)
		}
	}},
	{"what was made anew under a name is something else", func(t *testing.T, l tables) {
		first := made(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[1], first), nil)
		second := made(t, l.ports[1], "lb-30000")
		if second.UID == first.UID || second.Version == first.Version {
			t.Errorf("%s@%s became %s@%s", first.UID, first.Version, second.UID, second.Version)
		}
		expect(t, "delete of what was before", deleteOf(l.ports[0], first), ledger.ErrConflict)
		eventually(t, "the view has the new one", func() bool {
			r, ok := l.ports[0].Cached("lb-30000")
			return ok && r.UID == second.UID
		})
	}},
	{"a consistent read is never older than a view", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		for range 5 {
			var err error
			r, err = l.ports[0].Update(t.Context(), changed(r))
			expect(t, "update", err, nil)
			read, err := l.ports[1].Get(t.Context(), "lb-30000")
			expect(t, "get", err, nil)
			if read.Version != r.Version || versionIn(l.ports[1].CachedAll(), "lb-30000") != r.Version {
				t.Errorf("read version %s and saw %s after %s was written", read.Version, versionIn(l.ports[1].CachedAll(), "lb-30000"), r.Version)
			}
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
		last := ""
		for name, ip := range map[string]string{"claim-u1": "10.0.0.1", "claim-u2": "10.0.0.2", "claim-u3": "10.0.0.1"} {
			r, err := l.claims[0].Create(t.Context(), name, aClaim(ip))
			expect(t, "create", err, nil)
			last = r.Version
		}
		found, err := l.claims[1].OfPodIP(t.Context(), "10.0.0.1", last)
		expect(t, "list", err, nil)
		if len(found) != 2 || found[0].Name != "claim-u1" || found[1].Name != "claim-u3" {
			t.Errorf("found %+v", found)
		}
		found[0].Value.PodIP, found[0].Value.PreviousIP = "10.0.0.9", "10.0.0.8"
		moved, err := l.claims[1].Update(t.Context(), found[0])
		expect(t, "update with what was listed", err, nil)
		for _, ip := range []string{"10.0.0.9", "10.0.0.8"} {
			found, err = l.claims[0].OfPodIP(t.Context(), ip, moved.Version)
			expect(t, "list", err, nil)
			if len(found) != 1 || found[0].Name != "claim-u1" {
				t.Errorf("found %+v", found)
			}
		}
		moved.Value.PreviousIP = ""
		moved, err = l.claims[0].Update(t.Context(), moved)
		expect(t, "update", err, nil)
		found, err = l.claims[1].OfPodIP(t.Context(), "10.0.0.8", moved.Version)
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
		view := l.ports[0].CachedAll()
		if len(view) != 2 || view[0].Name != "lb-30000" || view[0].Version != second.Version {
			t.Errorf("the view is %+v", view)
		}
		eventually(t, "the other view has them", func() bool {
			return versionIn(l.ports[1].CachedAll(), "lb-30000") == second.Version && versionIn(l.ports[1].CachedAll(), "lb-30001") != ""
		})
	}},
	{"a view has what was read", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		_, err := l.ports[1].Get(t.Context(), "lb-30000")
		expect(t, "get", err, nil)
		if got := versionIn(l.ports[1].CachedAll(), "lb-30000"); got != r.Version {
			t.Errorf("the view has version %q, want %s", got, r.Version)
		}
	}},
	{"what was deleted does not come back into a view", func(t *testing.T, l tables) {
		r := made(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[0], r), nil)
		marker := made(t, l.ports[1], "lb-30001") // events come in order
		eventually(t, "both views have what came later", func() bool {
			if slices.ContainsFunc(l.ports[0].CachedAll(), func(r ledger.Record[ledger.Port]) bool { return r.Name == "lb-30000" }) {
				t.Error("the deleted record is in the view of who deleted it")
				return true
			}
			return versionIn(l.ports[0].CachedAll(), "lb-30001") == marker.Version && versionIn(l.ports[1].CachedAll(), "lb-30000") == ""
		})
	}},
}
