package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
)

const name = "lb-7000"

// ports is a table with its store.
type ports struct {
	*ledgermem.Table[ledger.Port]
	store *ledgermem.Store[ledger.Port]
}

// table has one free port.
func table(t *testing.T) *ports {
	store := ledgermem.New().Ports
	p := &ports{ledgermem.NewTable(store, ledgermem.Direct, nil), store}
	if _, err := p.Create(t.Context(), name, ledger.Port{State: ledger.Free, Generation: 1}); err != nil {
		t.Fatal(err)
	}
	return p
}

// block is a decision that blocks a port, and leaves a blocked one alone.
func block(r ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
	if r.Value.State == ledger.Blocked {
		return r.Value, false, nil
	}
	r.Value.State = ledger.Blocked
	return r.Value, true, nil
}

var errRefused = errors.New("refused")

// refuseHeld is a decision that refuses to block a port that is held.
func refuseHeld(r ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
	if r.Value.Held() {
		return r.Value, false, errRefused
	}
	return block(r)
}

type (
	port   = ledger.Record[ledger.Port]
	decide = ledger.Decide[ledger.Port]
)

// stale makes the cache show the port as it was in another state.
func (p *ports) stale(state ledger.PortState) {
	old, _ := p.store.Row(name)
	old.Version, old.Value.State = "0", state
	p.Show(old)
}

// onlyCached deletes the port. The cache still shows it, in that state.
func (p *ports) onlyCached(state ledger.PortState) {
	old, _ := p.store.Row(name)
	old.Value.State = state
	p.store.Remove(name)
	p.Show(old)
}

func TestChange(t *testing.T) {
	change := func(ctx context.Context, p *ports, d decide) (port, bool, error) {
		return ledger.Change(ctx, p, name, d)
	}
	createOrChange := func(ctx context.Context, p *ports, d decide) (port, bool, error) {
		return ledger.CreateOrChange(ctx, p, name, d)
	}
	changeFrom := func(ctx context.Context, p *ports, d decide) (port, bool, error) {
		r, _ := p.Cached(name)
		return ledger.ChangeFrom(ctx, p, r, d)
	}
	for _, test := range []struct {
		name   string
		call   func(context.Context, *ports, decide) (port, bool, error)
		given  func(*ports)
		decide decide

		wrote         bool
		err           error
		state         ledger.PortState // afterwards; empty: there is no readable record
		reads, writes int
	}{
		{"a cached record is written without a read", change, func(*ports) {}, block, true, nil, ledger.Blocked, 0, 1},
		{"a record that is not cached is read", change, func(p *ports) { p.Hide(name) }, block, true, nil, ledger.Blocked, 1, 1},
		{"a conflict is decided again on a fresh read", change, func(p *ports) { p.stale(ledger.Claimed) }, block, true, nil, ledger.Blocked, 1, 1},
		{"a stale refusal is decided again on a fresh read", change, func(p *ports) { p.stale(ledger.Bound) }, refuseHeld, true, nil, ledger.Blocked, 1, 1},
		{"a record that the cache shows as done is read", change, func(p *ports) { p.stale(ledger.Blocked) }, block, true, nil, ledger.Blocked, 1, 1},
		{"a fresh refusal is final", change, func(p *ports) { p.store.Change(name, func(p *ledger.Port) { p.State = ledger.Bound }) }, refuseHeld, false, errRefused, ledger.Bound, 1, 0},
		{"a record that is there no more is absent", change, func(p *ports) { p.onlyCached(ledger.Bound) }, block, false, ledger.ErrAbsent, "", 1, 0},
		{"a record that was never there is absent", change, func(p *ports) { p.store.Remove(name) }, block, false, ledger.ErrAbsent, "", 1, 0},
		{"an unreadable record is not decided on", change, func(p *ports) { p.store.Damage(name); p.Hide(name) }, block, false, ledger.ErrUnreadable, "", 1, 0},
		{"a record that the cache shows as unreadable is not decided on", change, func(p *ports) { p.store.Damage(name) }, block, false, ledger.ErrUnreadable, "", 1, 0},

		{"an absent record is created without a read", createOrChange, func(p *ports) { p.store.Remove(name) }, block, true, nil, ledger.Blocked, 0, 1},
		{"a record that the cache hides is read after the conflict", createOrChange, func(p *ports) { p.Hide(name) }, block, true, nil, ledger.Blocked, 1, 1},
		{"a record that only the cache shows is created", createOrChange, func(p *ports) { p.onlyCached(ledger.Free) }, block, true, nil, ledger.Blocked, 1, 1},
		{"an unreadable record is not replaced", createOrChange, func(p *ports) { p.store.Damage(name) }, block, false, ledger.ErrUnreadable, "", 1, 0},

		{"a record that the caller has read is left alone without a read", changeFrom, func(p *ports) { p.stale(ledger.Blocked) }, block, false, nil, ledger.Free, 0, 0},
		{"a record that the caller has read is refused without a read", changeFrom, func(p *ports) { p.stale(ledger.Bound) }, refuseHeld, false, errRefused, ledger.Free, 0, 0},
		{"a record that the caller has read is read again after a conflict", changeFrom, func(p *ports) { p.stale(ledger.Claimed) }, block, true, nil, ledger.Blocked, 1, 1},
		{"a record that the caller has read is not created again", changeFrom, func(p *ports) { p.onlyCached(ledger.Claimed) }, block, false, ledger.ErrAbsent, "", 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := table(t)
			test.given(p)
			before, existed := p.store.Row(name)
			reads, writes := p.store.Reads(), p.store.Writes()
			r, wrote, err := test.call(t.Context(), p, test.decide)
			if wrote != test.wrote || !errors.Is(err, test.err) {
				t.Errorf("wrote %v, error %v; want %v, %v", wrote, err, test.wrote, test.err)
			}
			after, exists := p.store.Row(name)
			if wrote && (r.Version != after.Version || r.Value != after.Value) {
				t.Errorf("returned %+v, the table has %+v", r, after)
			}
			if !test.wrote && (exists != existed || after != before) {
				t.Errorf("%+v became %+v", before, after)
			}
			if got := after.Value.State; got != test.state {
				t.Errorf("the port is %q, want %q", got, test.state)
			}
			if reads, writes = p.store.Reads()-reads, p.store.Writes()-writes; reads != test.reads || writes != test.writes {
				t.Errorf("%d reads, %d writes; want %d, %d", reads, writes, test.reads, test.writes)
			}
		})
	}
}

// crowded is a table to which another writer always writes first.
type crowded struct{ *ports }

func (c crowded) Update(_ context.Context, r port) (port, error) { return r, ledger.ErrConflict }

func TestChangeGivesUpWhenContended(t *testing.T) {
	if _, wrote, err := ledger.Change(t.Context(), crowded{table(t)}, name, block); wrote || !errors.Is(err, ledger.ErrContended) {
		t.Errorf("wrote %v, %v; want %v", wrote, err, ledger.ErrContended)
	}
}

// unreachable is a table of which every write has an unknown outcome.
type unreachable struct{ *ports }

var errUnreachable = errors.New("unreachable")

func (unreachable) Update(_ context.Context, r port) (port, error) { return r, errUnreachable }

func TestChangeReturnsAnUnknownOutcome(t *testing.T) {
	if _, wrote, err := ledger.Change(t.Context(), unreachable{table(t)}, name, block); wrote || !errors.Is(err, errUnreachable) {
		t.Errorf("wrote %v, %v; want %v", wrote, err, errUnreachable)
	}
}
