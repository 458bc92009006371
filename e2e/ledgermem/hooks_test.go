package ledgermem_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
)

// TestStaleCacheLearnsAgain: a record that was hidden, or shown as it was, arrives by a
// read, a write, or an event.
func TestStaleCacheLearnsAgain(t *testing.T) {
	const name = "lb-30000"
	for how, learn := range map[string]func(*testing.T, *ledgermem.Store[ledger.Port], ledger.Ports){
		"a read": func(t *testing.T, _ *ledgermem.Store[ledger.Port], ports ledger.Ports) {
			_, err := ports.Get(t.Context(), name)
			expect(t, "get", err, nil)
		},
		"a write": func(t *testing.T, s *ledgermem.Store[ledger.Port], ports ledger.Ports) {
			r, _ := s.Row(name)
			_, err := ports.Update(t.Context(), changed(r))
			expect(t, "update", err, nil)
		},
		"an event": func(_ *testing.T, s *ledgermem.Store[ledger.Port], _ ledger.Ports) {
			s.Recreate(name, aPort())
		},
	} {
		t.Run(how, func(t *testing.T) {
			store := ledgermem.New().Ports
			ports := ledgermem.NewTable(store, ledgermem.Direct, nil)
			first := created(t, ports, name)
			store.Change(name, func(p *ledger.Port) { p.State = ledger.Free })
			for _, stale := range []struct {
				make func()
				want string
			}{{func() { ports.Hide(name) }, ""}, {func() { ports.Show(first) }, first.Version}} {
				stale.make()
				if got := versionIn(ports.CachedAll(), name); got != stale.want {
					t.Errorf("the cache has version %q, want %q", got, stale.want)
				}
				learn(t, store, ports)
				now, _ := store.Row(name)
				if seen, ok := ports.Cached(name); !ok || seen != now {
					t.Errorf("the cache has %+v, want %+v", seen, now)
				}
			}
		})
	}
}

func TestFrozenCacheLearnsNothingUntilItThaws(t *testing.T) {
	store := ledgermem.New().Ports
	ports := ledgermem.NewTable(store, ledgermem.Direct, nil)
	old := created(t, ports, "lb-30000")
	created(t, ports, "lb-30001")
	ports.Freeze(old)
	_, err := ports.Update(t.Context(), changed(old))
	expect(t, "update", err, nil)
	store.Remove("lb-30001")
	created(t, ports, "lb-30002")
	if cached := ports.CachedAll(); len(cached) != 1 || *cached[0] != old {
		t.Errorf("the frozen cache has %+v", cached)
	}
	if seen, ok := ports.Cached("lb-30002"); ok {
		t.Errorf("the frozen cache has %+v", seen)
	}
	ports.Thaw()
	if cached := ports.CachedAll(); len(cached) != 2 || *cached[0] == old || cached[1].Name != "lb-30002" {
		t.Errorf("the cache has %+v", cached)
	}
}

func TestReadsAndWritesAreCounted(t *testing.T) {
	store := ledgermem.New().Ports
	ports := ledgermem.NewTable(store, ledgermem.Direct, nil)
	_, err := ports.Get(t.Context(), "lb-30000")
	expect(t, "get", err, ledger.ErrAbsent)
	r := created(t, ports, "lb-30000")
	_, err = ports.Update(t.Context(), r) // changes nothing
	expect(t, "update", err, nil)
	_, err = ports.Create(t.Context(), "lb-30000", aPort())
	expect(t, "create", err, ledger.ErrConflict)
	if store.Reads() != 1 || store.Writes() != 1 {
		t.Errorf("%d reads, %d writes", store.Reads(), store.Writes())
	}
}

// TestHistoryOfWritesIsBounded: a long simulation would keep every version of every record.
func TestHistoryOfWritesIsBounded(t *testing.T) {
	claims := ledgermem.New().Claims
	table := ledgermem.NewClaimTable(claims, ledgermem.Direct, func() time.Duration { return time.Hour })
	r, err := table.Create(t.Context(), "claim-u1", ledger.Claim{PodUID: "u1", PodIP: "10.0.0.1", State: ledger.Waiting})
	expect(t, "create", err, nil)
	for n := range 50_000 {
		claims.Change(r.Name, func(c *ledger.Claim) { c.AddressChanges = n + 1 })
	}
	for range 2 { // every other list is as stale as it may be
		found, err := table.OfPodIP(t.Context(), "10.0.0.1", r.Version)
		expect(t, "list", err, nil)
		if len(found) != 1 || found[0].Value.AddressChanges < 20_000 {
			t.Errorf("the list has %+v", found)
		}
	}
}

func TestWhereGivesTheWantedRowsByName(t *testing.T) {
	store := ledgermem.New().Ports
	ports := ledgermem.NewTable(store, ledgermem.Direct, nil)
	for _, name := range []string{"lb-30002", "lb-30001", "lb-30003"} {
		created(t, ports, name)
	}
	store.Change("lb-30003", func(p *ledger.Port) { p.State = ledger.Free })
	found := store.Where(func(p ledger.Port) bool { return p.State != ledger.Free })
	if len(found) != 2 || found[0].Name != "lb-30001" || found[1].Name != "lb-30002" || store.Len() != 3 {
		t.Errorf("it gives %+v of %d rows", found, store.Len())
	}
}
