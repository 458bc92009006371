package janitor_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// binding is the target group of a releasing port with listeners that forward to it.
type binding struct {
	stray
	listeners []elb.Listener
	tagsOf    map[string]map[string]string
}

func (b *binding) Listeners(context.Context, string) ([]elb.Listener, error) { return b.listeners, nil }

func (b *binding) List(context.Context) (map[string][]elb.Listener, error) { return nil, nil }

func (*binding) Offers(string, int) bool { return true }

func (b *binding) Tags(context.Context, ...string) (map[string]map[string]string, error) {
	return b.tagsOf, nil
}

// TestUnbindingTouchesItsOwnAlone: others may forward to our target group, or have
// put something in the place of what was recorded.
func TestUnbindingTouchesItsOwnAlone(t *testing.T) {
	const group, listener, other = "group", "listener", "other listener"
	ours := elb.Tags{
		Ledger: ledgerID, Namespace: "games", Pod: "game-0", PodUID: "1",
		Lease: fence.Lease, Epoch: fence.Epoch, Generation: fence.Generation,
	}
	neighbour, former := ours, ours
	neighbour.Ledger, former.Generation = "another cluster/portlease", fence.Generation-1
	for _, test := range []struct {
		name string
		tags map[string]map[string]string
		want []string
	}{
		{"all ours", map[string]map[string]string{group: ours.Map(), listener: ours.Map()}, []string{listener, group}},
		{"gone already", nil, []string{group}},
		{"a listener without tags", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: {}}, []string{listener, group}},
		{"a listener of another ledger", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: neighbour.Map()}, []string{listener, group}},
		{"a listener of another generation", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: former.Map()}, []string{listener, group}},
		{"a second listener of ours", map[string]map[string]string{group: ours.Map(), listener: ours.Map(), other: ours.Map()}, []string{listener, other, group}},
		{"a target group of another ledger", map[string]map[string]string{group: neighbour.Map()}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &binding{tagsOf: test.tags, listeners: []elb.Listener{
				{ARN: listener, Port: 30000, TargetGroupARNs: []string{group}}, {ARN: other, Port: 40000, TargetGroupARNs: []string{group}},
				{ARN: "of nobody we know", Port: 50000, TargetGroupARNs: []string{"another"}},
			}}
			port := portIn(ledger.Releasing, ledger.AgentAbsent)
			port.Value.TargetGroupARN, port.Value.ListenerARN = group, listener
			j := janitor.New(janitor.Config{
				Ledger: ledgerID, Claims: lateClaims{&late[ledger.Claim]{}}, Ports: &still{late[ledger.Port]{[]portRecord{port}}}, AWS: b, Listings: b,
				Observer: newWatch().Observer, Timing: timing,
				MayUnbind: func(context.Context, string) (bool, error) { return true, nil },
				Prepaid:   func(ctx context.Context) context.Context { return ctx },
				Count:     func(string, string) {}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			})
			err := j.Sweep(t.Context())
			if !slices.Equal(b.deleted, test.want) {
				t.Errorf("deleted %v, want %v", b.deleted, test.want)
			}
			if (err == nil) != (len(test.want) > 0) {
				t.Errorf("the sweep ends with %v", err)
			}
		})
	}
}
