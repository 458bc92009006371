package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/invariants"

	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// mutant is portlease with one part broken.
type mutant struct {
	name string
	// known is a seed that noticed it once; it is tried first. within is how many
	// are tried after it.
	known, within uint64
	// breaks are the guarantees that it may break.
	breaks     []string
	deps       func(*Dependencies)
	agentCalls func(lifecycle.Allocator) lifecycle.Allocator
}

// mutants have to be noticed each, or the simulation would prove nothing by
// noticing nothing.
var mutants = []mutant{
	{
		name: "ports are overwritten whatever their version", known: 47, within: 200, breaks: []string{"S1", "S2", "S4"},
		deps: func(d *Dependencies) { d.Ports = blind{d.Ports}; d.JanitorPorts = blind{d.JanitorPorts} },
	},
	{
		name: "ports are read from the view", known: 57, within: 200, breaks: []string{"S1", "S2", "S4", "L1", "L2", "bound"},
		deps: func(d *Dependencies) { d.Ports = stale{d.Ports}; d.JanitorPorts = stale{d.JanitorPorts} },
	},
	{
		name: "the janitor does not look at the pod", known: 1, within: 200, breaks: []string{"S4"},
		deps: func(d *Dependencies) {
			d.JanitorGetPod = func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }
		},
	},
	{
		name: "the janitor takes all it sees for its own", within: 200, breaks: []string{"S3"},
		deps: func(d *Dependencies) { d.JanitorAWS = greedy{d.JanitorAWS} },
	},
	{
		name: "the janitor believes that target groups go by themselves", within: 200, breaks: []string{"S2", "L1"},
		deps: func(d *Dependencies) { d.JanitorAWS = lazy{d.JanitorAWS} },
	},
	{
		name: "nobody notices that an address is another claim's", known: 5, within: 300, breaks: []string{"S6"},
		deps: func(d *Dependencies) { d.Claims = heedless{d.Claims} },
	},
	{
		name: "nobody notices that an address was another claim's", known: 104, within: 300, breaks: []string{"S6"},
		deps: func(d *Dependencies) { d.Claims = forgetful{d.Claims} },
	},
	{
		name: "nobody heeds that a load balancer is cordoned", known: 17, within: 200, breaks: []string{"closed"},
		deps: func(d *Dependencies) { d.Cordons = unseen{d.Cordons} },
	},
	{
		name: "changes are timed by a clock that is much too fast", within: 50, breaks: []string{"S2"},
		deps: func(d *Dependencies) {
			now, start := d.Monotonic, d.Monotonic()
			d.Monotonic = func() time.Time { return start.Add(now().Sub(start) * 5 / 4) }
		},
	},
	{
		name: "a listener is created without the recorded target group", within: 5, breaks: []string{"S2"},
		agentCalls: func(a lifecycle.Allocator) lifecycle.Allocator { return hasty{a} },
	},
}

func TestMutantsAreNoticed(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for n := range m.within + 1 {
				c := Config{Seed: n, Events: events, Break: m.deps, BreakAgent: m.agentCalls}
				if n == 0 {
					c.Seed = m.known
				}
				_, err := simulate(t, c)
				if err == nil {
					continue
				}
				if g := invariants.Guarantee(err); !slices.Contains(m.breaks, g) {
					t.Errorf("seed %d: %v; want a violation of %v", c.Seed, err, m.breaks)
				}
				t.Logf("seed %d: %v", c.Seed, strings.SplitN(err.Error(), "\n", 2)[0])
				return
			}
			t.Errorf("not noticed within %d seeds", m.within)
		})
	}
}

// blind writes without comparing.
type blind struct{ ledger.Ports }

// Update implements ledger.Table.
func (b blind) Update(ctx context.Context, r ledger.Record[ledger.Port]) (ledger.Record[ledger.Port], error) {
	newest, err := b.Get(ctx, r.Name)
	if err != nil {
		return r, err
	}
	r.UID, r.Version = newest.UID, newest.Version
	updated, err := b.Ports.Update(ctx, r)
	if errors.Is(err, ledger.ErrConflict) {
		return b.Update(ctx, r)
	}
	return updated, err
}

// stale reads what may be old.
type stale struct{ ledger.Ports }

// Get implements ledger.Table.
func (l stale) Get(ctx context.Context, name string) (ledger.Record[ledger.Port], error) {
	for _, r := range l.CachedAll() {
		if r.Name == name {
			return r, nil
		}
	}
	return l.Ports.Get(ctx, name)
}

// greedy reads its own tags everywhere.
type greedy struct{ janitor.AWS }

// Tags implements janitor.AWS.
func (g greedy) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	all, err := g.AWS.Tags(ctx, arns...)
	for arn, m := range all {
		if m[elb.TagLedger] != ledgerID {
			all[arn] = elb.Tags{Ledger: ledgerID, Namespace: namespace, Pod: "nobody", PodUID: "u0", Lease: "l", Epoch: "e", Generation: 1}.Map()
		}
	}
	return all, err
}

// lazy deletes no target group.
type lazy struct{ janitor.AWS }

// DeleteTargetGroup implements janitor.AWS.
func (lazy) DeleteTargetGroup(context.Context, string) error { return nil }

// heedless never finds another claim.
type heedless struct{ ledger.Claims }

// OfPodIP implements ledger.Claims.
func (heedless) OfPodIP(context.Context, string, string) ([]ledger.Record[ledger.Claim], error) {
	return nil, nil
}

// forgetful finds claims by the address they have, not by the one they had.
type forgetful struct{ ledger.Claims }

// OfPodIP implements ledger.Claims.
func (f forgetful) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	found, err := f.Claims.OfPodIP(ctx, ip, since)
	return slices.DeleteFunc(found, func(r ledger.Record[ledger.Claim]) bool { return r.Value.PodIP != ip }), err
}

// unseen has an empty view.
type unseen struct{ ledger.Cordons }

// Cached implements ledger.Table.
func (unseen) Cached(string) (ledger.Record[ledger.Cordon], bool) {
	return ledger.Record[ledger.Cordon]{}, false
}

// hasty does not wait for its license.
type hasty struct{ lifecycle.Allocator }

// TargetGroup implements lifecycle.Reports.
func (hasty) TargetGroup(context.Context, string, string, api.TargetGroupRequest) error { return nil }
