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

// mutant is portlease with one broken part.
type mutant struct {
	name string
	// known is a seed that found it once; it is tried first. within is how many are
	// tried after it.
	known, within uint64
	// breaks are the guarantees that it may violate.
	breaks     []string
	deps       func(*Dependencies)
	agentCalls func(lifecycle.Allocator) lifecycle.Allocator
}

// mutants must all be found. A simulation that finds no bug proves nothing.
var mutants = []mutant{
	{
		name: "ports are written without comparing versions", known: 47, within: 200, breaks: []string{"S1", "S2", "S4"},
		deps: func(d *Dependencies) { d.Ports = overwrites{d.Ports}; d.JanitorPorts = overwrites{d.JanitorPorts} },
	},
	{
		name: "fresh reads of ports are stale", known: 57, within: 200, breaks: []string{"S1", "S2", "S4", "L1", "L2", "bound"},
		deps: func(d *Dependencies) { d.Ports = stale{d.Ports}; d.JanitorPorts = stale{d.JanitorPorts} },
	},
	{
		name: "the janitor does not check the pod", known: 1, within: 200, breaks: []string{"S4"},
		deps: func(d *Dependencies) {
			d.JanitorGetPod = func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil }
		},
	},
	{
		name: "the janitor treats foreign bindings as its own", within: 200, breaks: []string{"S3"},
		deps: func(d *Dependencies) { d.JanitorAWS = claimsAll{d.JanitorAWS} },
	},
	{
		name: "the janitor does not delete target groups", within: 200, breaks: []string{"S2", "L1"},
		deps: func(d *Dependencies) { d.JanitorAWS = keepsGroups{d.JanitorAWS} },
	},
	{
		name: "another claim with the same IP is not found", known: 5, within: 300, breaks: []string{"S6"},
		deps: func(d *Dependencies) { d.Claims = sameIPNotFound{d.Claims} },
	},
	{
		name: "another claim with the same previous IP is not found", known: 577, within: 600, breaks: []string{"S6"},
		deps: func(d *Dependencies) { d.Claims = previousIPNotFound{d.Claims} },
	},
	{
		name: "cordons are ignored", known: 17, within: 200, breaks: []string{"blocked"},
		deps: func(d *Dependencies) { d.Cordons = noCordons{d.Cordons} },
	},
	{
		name: "the clock that ages changes is much too fast", within: 50, breaks: []string{"S2"},
		deps: func(d *Dependencies) {
			now, start := d.Monotonic, d.Monotonic()
			d.Monotonic = func() time.Time { return start.Add(now().Sub(start) * 5 / 4) }
		},
	},
	{
		name: "a listener is created without the recorded target group", within: 5, breaks: []string{"S2"},
		agentCalls: func(a lifecycle.Allocator) lifecycle.Allocator { return unlicensed{a} },
	},
}

func TestSimulationFindsEveryBrokenPart(t *testing.T) {
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
			t.Errorf("not found within %d seeds", m.within)
		})
	}
}

// overwrites writes without comparing versions.
type overwrites struct{ ledger.Ports }

// Update implements ledger.Table.
func (b overwrites) Update(ctx context.Context, r ledger.Record[ledger.Port]) (ledger.Record[ledger.Port], error) {
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

// stale reads from the cache.
type stale struct{ ledger.Ports }

// Get implements ledger.Table.
func (l stale) Get(ctx context.Context, name string) (ledger.Record[ledger.Port], error) {
	for _, r := range l.CachedAll() {
		if r.Name == name {
			return *r, nil
		}
	}
	return l.Ports.Get(ctx, name)
}

// claimsAll reads its own tags on everything.
type claimsAll struct{ janitor.AWS }

// Tags implements janitor.AWS.
func (g claimsAll) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	all, err := g.AWS.Tags(ctx, arns...)
	for arn, m := range all {
		if m[elb.TagLedger] != ledgerID {
			all[arn] = elb.Tags{Ledger: ledgerID, Namespace: namespace, Pod: "nobody", PodUID: "u0", Lease: "l", Epoch: "e", Generation: 1}.Map()
		}
	}
	return all, err
}

// keepsGroups deletes no target group.
type keepsGroups struct{ janitor.AWS }

// DeleteTargetGroup implements janitor.AWS.
func (keepsGroups) DeleteTargetGroup(context.Context, string) error { return nil }

// sameIPNotFound never finds another claim.
type sameIPNotFound struct{ ledger.Claims }

// OfPodIP implements ledger.Claims.
func (sameIPNotFound) OfPodIP(context.Context, string, string) ([]ledger.Record[ledger.Claim], error) {
	return nil, nil
}

// previousIPNotFound finds claims by their present IP only.
type previousIPNotFound struct{ ledger.Claims }

// OfPodIP implements ledger.Claims.
func (f previousIPNotFound) OfPodIP(ctx context.Context, ip, since string) ([]ledger.Record[ledger.Claim], error) {
	found, err := f.Claims.OfPodIP(ctx, ip, since)
	return slices.DeleteFunc(found, func(r ledger.Record[ledger.Claim]) bool { return r.Value.PodIP != ip }), err
}

// noCordons has an empty cache.
type noCordons struct{ ledger.Cordons }

// Cached implements ledger.Table.
func (noCordons) Cached(string) (ledger.Record[ledger.Cordon], bool) {
	return ledger.Record[ledger.Cordon]{}, false
}

// unlicensed does not record the target group, and lets the agent believe that it is recorded.
type unlicensed struct{ lifecycle.Allocator }

// TargetGroup implements lifecycle.Reports.
func (unlicensed) TargetGroup(context.Context, string, string, api.TargetGroupRequest) error {
	return nil
}

// Renew implements lifecycle.Claims.
func (u unlicensed) Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error) {
	answer, err := u.Allocator.Renew(ctx, namespace, pod, r)
	for i, p := range answer.Claim.Ports {
		for _, presented := range r.Ports {
			if presented.Fence == p.Fence {
				answer.Claim.Ports[i].TargetGroupARN = presented.TargetGroupARN
			}
		}
	}
	return answer, err
}
