package ledgermem_test

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

// conformance is what the allocator relies on: the contract of ledger.Table.
var conformance = []struct {
	name string
	run  func(*testing.T, tables)
}{
	{"a read returns what was written", func(t *testing.T, l tables) {
		created(t, l.ports[0], "lb-30000")
		port, err := l.ports[1].Get(t.Context(), "lb-30000")
		expect(t, "get", err, nil)
		want := aPort()
		want.UpdatedAt = want.UpdatedAt.Truncate(time.Microsecond)
		if at := port.Value.UpdatedAt; !at.Equal(want.UpdatedAt) {
			t.Errorf("updated at %v, want %v", at, want.UpdatedAt)
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
		made, err := l.cordons[0].Create(t.Context(), name, ledger.Cordon{LoadBalancerARN: "arn:lb/50dc6c495c0c9188", Cordoned: "alice: soon", UpdatedAt: at})
		expect(t, "cordon", err, nil)
		read, err := l.cordons[1].Get(t.Context(), name)
		expect(t, "get", err, nil)
		if v := read.Value; v.LoadBalancerARN != "arn:lb/50dc6c495c0c9188" || v.Cordoned != "alice: soon" || !v.UpdatedAt.Equal(at.Truncate(time.Microsecond)) || read.Version != made.Version {
			t.Errorf("read %+v", read)
		}
		state := budget.State{Counted: time.Minute + time.Nanosecond, Tokens: budget.Tokens{Mutating: 1.5, Registration: -2, All: 3}, DescribeReserve: 0.25, Permits: []budget.Permit{{Claim: "claim-u1", Cost: budget.Tokens{All: 1}, Repeats: 1}}}
		_, err = l.budgets[0].Create(t.Context(), ledger.BudgetName, ledger.Budget{State: state, UpdatedAt: at})
		expect(t, "create", err, nil)
		kept, err := l.budgets[1].Get(t.Context(), ledger.BudgetName)
		expect(t, "get", err, nil)
		if !reflect.DeepEqual(kept.Value.State, state) || !kept.Value.UpdatedAt.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("read %+v", kept)
		}
		eventually(t, "the other cache has them", func() bool {
			seen, ok := l.cordons[1].Cached(name)
			_, known := l.budgets[1].Cached(ledger.BudgetName)
			return ok && known && seen.Value.Cordoned == "alice: soon"
		})
	}},
	{"of many concurrent updates of one version one succeeds", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
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
	{"the creation time is in whole seconds and never changes", func(t *testing.T, l tables) {
		first := created(t, l.ports[0], "lb-30000")
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
	{"a record created again under a name is another record", func(t *testing.T, l tables) {
		first := created(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[1], first), nil)
		second := created(t, l.ports[1], "lb-30000")
		if second.UID == first.UID || second.Version == first.Version {
			t.Errorf("%s@%s became %s@%s", first.UID, first.Version, second.UID, second.Version)
		}
		expect(t, "delete of the earlier record", deleteOf(l.ports[0], first), ledger.ErrConflict)
		eventually(t, "the cache has the new one", func() bool {
			r, ok := l.ports[0].Cached("lb-30000")
			return ok && r.UID == second.UID
		})
	}},
	{"a fresh read is never older than the cache", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
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
		created(t, l.ports[0], "lb-30000")
		_, err := l.ports[1].Create(t.Context(), "lb-30000", aPort())
		expect(t, "the second create", err, ledger.ErrConflict)
	}},
	{"an absent record is ErrAbsent to Get and success to Delete", func(t *testing.T, l tables) {
		_, err := l.ports[0].Get(t.Context(), "lb-30000")
		expect(t, "get", err, ledger.ErrAbsent)
		expect(t, "delete", deleteOf(l.ports[0], ledger.Record[ledger.Port]{Name: "lb-30000", UID: "u", Version: "1"}), nil)
	}},
	{"of two updates of one version one succeeds", func(t *testing.T, l tables) {
		first := created(t, l.ports[0], "lb-30000")
		second, err := l.ports[1].Update(t.Context(), changed(first))
		expect(t, "the first update", err, nil)
		if second.Version == first.Version || second.UID != first.UID {
			t.Errorf("updated %s@%s to %s@%s", first.UID, first.Version, second.UID, second.Version)
		}
		_, err = l.ports[0].Update(t.Context(), changed(changed(first)))
		expect(t, "the second update", err, ledger.ErrConflict)
	}},
	{"an update that changes nothing keeps the version", func(t *testing.T, l tables) {
		first := created(t, l.ports[0], "lb-30000")
		again, err := l.ports[0].Update(t.Context(), first)
		expect(t, "update", err, nil)
		if again.Version != first.Version {
			t.Errorf("version %s became %s", first.Version, again.Version)
		}
		_, err = l.ports[0].Update(t.Context(), changed(first))
		expect(t, "update after that", err, nil)
	}},
	{"an update needs a version", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
		r.Version = ""
		if _, err := l.ports[0].Update(t.Context(), changed(r)); err == nil {
			t.Error("an update without a version succeeded")
		}
	}},
	{"an update of a deleted record is a conflict", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[1], r), nil)
		_, err := l.ports[0].Update(t.Context(), changed(r))
		expect(t, "update", err, ledger.ErrConflict)
		created(t, l.ports[1], "lb-30000")
		_, err = l.ports[0].Update(t.Context(), changed(r))
		expect(t, "update of another of that name", err, ledger.ErrConflict)
	}},
	{"a deletion removes only the version that was read", func(t *testing.T, l tables) {
		first := created(t, l.ports[0], "lb-30000")
		second, err := l.ports[0].Update(t.Context(), changed(first))
		expect(t, "update", err, nil)
		expect(t, "delete of the old version", deleteOf(l.ports[1], first), ledger.ErrConflict)
		expect(t, "delete", deleteOf(l.ports[1], second), nil)
		expect(t, "delete again", deleteOf(l.ports[0], second), nil)
		created(t, l.ports[0], "lb-30000")
		expect(t, "delete of another of that name", deleteOf(l.ports[1], second), ledger.ErrConflict)
	}},
	{"claims are found by namespace", func(t *testing.T, l tables) {
		last := ""
		for name, namespace := range map[string]string{"claim-u1": "games", "claim-u2": "other", "claim-u3": "games"} {
			c := aClaim("10.0.0.1")
			c.Namespace = namespace
			r, err := l.claims[0].Create(t.Context(), name, c)
			expect(t, "create", err, nil)
			last = r.Version
		}
		found, err := l.claims[1].OfNamespace(t.Context(), "games", last)
		expect(t, "list", err, nil)
		if len(found) != 2 || found[0].Name != "claim-u1" || found[1].Name != "claim-u3" {
			t.Errorf("found %+v", found)
		}
	}},
	{"claims are found by present and previous address", func(t *testing.T, l tables) {
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
	{"a cache has its own writes at once and those of others later", func(t *testing.T, l tables) {
		created(t, l.ports[0], "lb-30001")
		first := created(t, l.ports[0], "lb-30000")
		second, err := l.ports[0].Update(t.Context(), changed(first))
		expect(t, "update", err, nil)
		cached := l.ports[0].CachedAll()
		if len(cached) != 2 || cached[0].Name != "lb-30000" || cached[0].Version != second.Version {
			t.Errorf("the cache is %+v", cached)
		}
		eventually(t, "the other cache has them", func() bool {
			return versionIn(l.ports[1].CachedAll(), "lb-30000") == second.Version && versionIn(l.ports[1].CachedAll(), "lb-30001") != ""
		})
	}},
	{"an unreadable record is neither absent nor free", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
		l.damage("lb-30000")
		_, err := l.ports[0].Get(t.Context(), "lb-30000")
		expect(t, "get", err, ledger.ErrUnreadable)
		_, err = l.ports[0].Create(t.Context(), "lb-30000", aPort())
		expect(t, "create", err, ledger.ErrConflict)
		_, err = l.ports[0].Update(t.Context(), changed(r))
		expect(t, "update of what it was", err, ledger.ErrConflict)
		eventually(t, "the other cache has it without a value", func() bool {
			seen, ok := l.ports[1].Cached("lb-30000")
			return ok && seen.UID == r.UID && seen.Version != r.Version && seen.Value == ledger.Port{}
		})
	}},
	{"a cache has what was read", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
		_, err := l.ports[1].Get(t.Context(), "lb-30000")
		expect(t, "get", err, nil)
		if got := versionIn(l.ports[1].CachedAll(), "lb-30000"); got != r.Version {
			t.Errorf("the cache has version %q, want %s", got, r.Version)
		}
	}},
	{"a deleted record does not come back into a cache", func(t *testing.T, l tables) {
		r := created(t, l.ports[0], "lb-30000")
		expect(t, "delete", deleteOf(l.ports[0], r), nil)
		marker := created(t, l.ports[1], "lb-30001") // events come in order
		eventually(t, "both caches have what came later", func() bool {
			if slices.ContainsFunc(l.ports[0].CachedAll(), func(r *ledger.Record[ledger.Port]) bool { return r.Name == "lb-30000" }) {
				t.Error("the deleted record is in the cache of the process that deleted it")
				return true
			}
			return versionIn(l.ports[0].CachedAll(), "lb-30001") == marker.Version && versionIn(l.ports[1].CachedAll(), "lb-30000") == ""
		})
	}},
}
