package janitor_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// bindingAWS is AWS with one binding. It records deletions.
type bindingAWS struct {
	orphanAWS
	listeners []elb.Listener
	tagsOf    map[string]map[string]string
}

func (b *bindingAWS) Listeners(context.Context, string) ([]elb.Listener, error) {
	return b.listeners, nil
}

func (b *bindingAWS) List(context.Context) (map[string][]elb.Listener, error) { return nil, nil }

func (*bindingAWS) Offers(string, int) bool { return true }

func (*bindingAWS) Sticky(string, int) (time.Duration, bool) { return 0, true }

func (b *bindingAWS) Tags(_ context.Context, arns ...string) (map[string]map[string]string, error) {
	found := make(map[string]map[string]string)
	for _, arn := range arns {
		if m, exists := b.tagsOf[arn]; exists {
			found[arn] = m
		}
	}
	return found, nil
}

// unbind unbinds a releasing port once. Every write of the ledger conflicts.
func (b *bindingAWS) unbind(t *testing.T, port portRecord) error {
	t.Helper()
	c := newConfig(newTestObserver(), staleTable[ledger.Claim](), currentTable(port))
	c.AWS, c.Listings, c.ReserveDeletions, c.ReserveDeregister = b, b, alwaysGranted, alwaysDeregistered
	c.Prepaid = func(ctx context.Context, _ int) context.Context { return ctx }
	return janitor.New(c).UnbindReleasing(t.Context())
}

// own are the tags of the releasing port's holding.
var own = elb.Tags{
	Ledger: ledgerID, Namespace: "games", Pod: "game-0", PodUID: "1",
	Lease: fence.Lease, Epoch: fence.Epoch, Generation: fence.Generation,
}

// Foreign listeners may forward to the target group, and a foreign resource may be in the
// place of a recorded one.
func TestUnbindDeletesOnlyItsOwnBinding(t *testing.T) {
	const group, listener, other = "group", "listener", "other listener"
	ours, neighbor, former := own, own, own
	neighbor.Ledger, former.Generation = "another cluster/portlease", fence.Generation-1
	for _, test := range []struct {
		name string
		tags map[string]map[string]string
		want []string
	}{
		{"all own", map[string]map[string]string{group: ours.Map(), listener: ours.Map()}, []string{listener, group}},
		{"already gone", nil, []string{group}},
		{"a listener without tags", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: {}}, []string{listener, group}},
		{"a listener of another ledger", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: neighbor.Map()}, []string{listener, group}},
		{"a listener of another generation", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: former.Map()}, []string{listener, group}},
		{"a second own listener", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: ours.Map()}, []string{listener, other, group}},
		{"a target group of another ledger", map[string]map[string]string{group: neighbor.Map()}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &bindingAWS{tagsOf: test.tags, listeners: []elb.Listener{
				{ARN: listener, Port: 30000, TargetGroupARNs: []string{group}}, {ARN: other, Port: 40000, TargetGroupARNs: []string{group}},
				{ARN: "unrelated", Port: 50000, TargetGroupARNs: []string{"another"}},
			}}
			port := portIn(ledger.Releasing, ledger.AgentAbsent)
			port.Value.Deregistered = true
			port.Value.TargetGroupARN, port.Value.ListenerARN = group, listener
			err := b.unbind(t, port)
			if !slices.Equal(b.deleted, test.want) {
				t.Errorf("deleted %v, want %v", b.deleted, test.want)
			}
			if (err == nil) != (len(test.want) > 0) {
				t.Errorf("the sweep ends with %v", err)
			}
		})
	}
}

// The agent created the listener and did not report it, and an admin redirected it. So
// neither the record nor the target group leads to it.
func TestUnbindDeletesAnUnreportedOrRedirectedListener(t *testing.T) {
	before, another := own, own
	before.Generation--
	another.Ledger = "another"
	for _, c := range []struct {
		name     string
		listener elb.Listener
		tags     elb.Tags
		want     []string
	}{
		{"its own on its port", elb.Listener{ARN: "own", Port: 30000}, own, []string{"own", "group"}},
		{"its own, recorded, on another port", elb.Listener{ARN: "recorded", Port: 30009}, own, []string{"recorded", "group"}},
		{"its own that forwards to it, on another port", elb.Listener{ARN: "own", Port: 30009, TargetGroupARNs: []string{"group"}}, own, []string{"own", "group"}},
		{"another generation's on its port", elb.Listener{ARN: "before", Port: 30000}, before, []string{"group"}},
		{"another ledger's on its port", elb.Listener{ARN: "foreign", Port: 30000}, another, []string{"group"}},
		{"another ledger's that forwards to it", elb.Listener{ARN: "foreign", Port: 30000, TargetGroupARNs: []string{"group"}}, another, []string{"group"}},
		{"one on another port", elb.Listener{ARN: "other", Port: 30009}, own, []string{"group"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := portIn(ledger.Releasing, ledger.AgentAbsent)
			port.Value.Deregistered = true
			port.Value.ListenerPort, port.Value.TargetGroupARN, port.Value.ListenerARN = 30000, "group", "recorded"
			aws := &bindingAWS{listeners: []elb.Listener{c.listener}, tagsOf: map[string]map[string]string{c.listener.ARN: c.tags.Map(), "group": own.Map()}}
			if err := aws.unbind(t, port); err != nil {
				t.Log(err)
			}
			if !slices.Equal(aws.deleted, c.want) {
				t.Errorf("deleted %v, want %v", aws.deleted, c.want)
			}
		})
	}
}

// AWS may answer that a new target group is deleted although it exists. A listener for it
// may still be created then.
func TestDeletionOfANewTargetGroupIsNotBelieved(t *testing.T) {
	w := newAccount(t, 1)
	w.janitor.Timing.TargetGroupLag = time.Minute
	group, _ := w.bind("game", "game", 0, firstAudit, 1)
	w.record("game", 0, firstAudit, ledger.Port{State: ledger.Releasing, TargetGroupARN: group})
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DeleteTargetGroup" {
			return elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found")
		}
		return elbemu.Fault{}
	})
	deletions := 0
	pass := func(after time.Duration) {
		t.Helper()
		w.now = w.now.Add(after)
		w.must(w.janitor.Sweep(t.Context()))
		before := len(w.emulator.Calls())
		w.must(w.janitor.UnbindReleasing(t.Context()))
		for _, c := range w.emulator.Calls()[before:] {
			if c.Action == "DeleteTargetGroup" {
				deletions++
			}
		}
	}
	for range 30 {
		pass(time.Minute / 31)
		w.is(0, firstAudit, ledger.Releasing)
	}
	if deletions > 0 {
		t.Errorf("it was deleted %d times before an answer counts; each costs a call", deletions)
	}
	w.emulator.SetFault(nil)
	pass(time.Minute)
	w.is(0, firstAudit, ledger.Cooldown)
	w.expectGone(whole("game")...)
}

// A target group that this process has known for long needs no second deletion.
func TestDeletionOfAnOldTargetGroupIsBelieved(t *testing.T) {
	w := newAccount(t, 1)
	w.janitor.Timing.TargetGroupLag = time.Minute
	group, listener := w.bind("game", "game", 0, firstAudit, 1)
	w.record("game", 0, firstAudit, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	w.must(w.janitor.Sweep(t.Context()))
	w.now = w.now.Add(time.Minute)
	r, _ := w.ledger.Ports.Row(w.fenceOf(0, firstAudit, 1).Lease)
	r.Value.State = ledger.Releasing
	w.ledger.Ports.Recreate(r.Name, r.Value)
	w.must(w.janitor.UnbindReleasing(t.Context()))
	w.is(0, firstAudit, ledger.Cooldown)
}
