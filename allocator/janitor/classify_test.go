package janitor_test

import (
	"testing"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// groupOf and listenerOf are a target group and a listener as the agent of the holder of
// lb-30000 at generation 5 creates them, changed by the test.
func groupOf(change func(*janitor.Resource)) janitor.Resource {
	r := janitor.Resource{ARN: "group", Tags: elb.Tags{Ledger: ledgerID, PodUID: "u", Lease: "lb-30000", Epoch: "e", Generation: 5}}
	r.Name = elb.TargetGroupName(ledgerID, r.Tags.Fence())
	change(&r)
	return r
}

func listenerOf(change func(*janitor.Resource)) janitor.Resource {
	r := groupOf(func(*janitor.Resource) {})
	r.ARN, r.Name = "listener", ""
	r.Listener = &elb.Listener{ARN: "listener", LoadBalancerARN: "lb", Port: 30000, TargetGroupARNs: []string{"group"}}
	change(&r)
	return r
}

func TestClassifyOrphan(t *testing.T) {
	in := func(s ledger.PortState) *ledger.Port {
		return &ledger.Port{State: s, Epoch: "e", Generation: 5, PodUID: "u", LoadBalancerARN: "lb", ListenerPort: 30000, TargetGroupARN: "group"}
	}
	states := []ledger.PortState{ledger.Free, ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Cooldown, ledger.Blocked, "of a later version", ""}
	over := map[ledger.PortState]bool{ledger.Free: true, ledger.Cooldown: true, ledger.Blocked: true}
	reasons := make(map[string]janitor.Verdict)
	check := func(name string, r janitor.Resource, port *ledger.Port, want janitor.Verdict) {
		t.Helper()
		got, reason := janitor.ClassifyOrphan(r, port)
		if got != want {
			t.Errorf("%s, port %+v: got %s (%s), want %s", name, port, got, reason, want)
		}
		if other, known := reasons[reason]; reason == "" || known && other != got {
			t.Errorf("reason %q means both %s and %s", reason, other, got)
		}
		reasons[reason] = got
	}
	as := func(change func(*elb.Tags)) func(*janitor.Resource) {
		return func(r *janitor.Resource) { change(&r.Tags) }
	}
	for kind, of := range map[string]func(func(*janitor.Resource)) janitor.Resource{"target group": groupOf, "listener": listenerOf} {
		own := of(func(*janitor.Resource) {})
		check(kind, own, nil, janitor.Suspect)
		check(kind, of(func(r *janitor.Resource) { r.Malformed, r.Tags = true, elb.Tags{} }), nil, janitor.Stray)
		for _, s := range states {
			for generation, want := range map[int]janitor.Verdict{1: janitor.Delete, 4: janitor.Delete, 6: janitor.Suspect, 999: janitor.Suspect} {
				check(kind, of(as(func(t *elb.Tags) { t.Generation = generation })), in(s), want)
			}
			for _, generation := range []int{4, 5, 6} { // of another epoch: generations cannot be compared
				check(kind, of(as(func(t *elb.Tags) { t.Epoch, t.Generation = "x", generation })), in(s), janitor.Suspect)
			}
			switch {
			case over[s]:
				check(kind, own, in(s), janitor.Delete)
			default:
				port := in(s)
				port.ListenerARN = "listener"
				check(kind, own, port, janitor.Keep)
			}
		}
		check(kind, of(func(r *janitor.Resource) { r.ARN = "not recorded" }), in(ledger.Releasing), janitor.Delete)
	}
}

// A pod puts its own, valid fence on more than its binding.
func TestOnlyTheBindingItselfIsOfItsHolding(t *testing.T) {
	port := ledger.Port{State: ledger.Bound, Epoch: "e", Generation: 5, PodUID: "u", LoadBalancerARN: "lb", ListenerPort: 30000, TargetGroupARN: "group", ListenerARN: "listener"}
	for name, c := range map[string]struct {
		resource janitor.Resource
		change   func(*ledger.Port)
		want     janitor.Verdict
	}{
		"its target group":                   {groupOf(func(*janitor.Resource) {}), nil, janitor.Keep},
		"a target group not recorded yet":    {groupOf(func(*janitor.Resource) {}), func(p *ledger.Port) { p.State, p.TargetGroupARN = ledger.Claimed, "" }, janitor.Keep},
		"a target group of another name":     {groupOf(func(r *janitor.Resource) { r.Name = "pl-2" }), nil, janitor.Stray},
		"its listener":                       {listenerOf(func(*janitor.Resource) {}), nil, janitor.Keep},
		"its listener, not reported yet":     {listenerOf(func(*janitor.Resource) {}), func(p *ledger.Port) { p.State, p.ListenerARN = ledger.Claimed, "" }, janitor.Keep},
		"a listener on another port":         {listenerOf(func(r *janitor.Resource) { r.Listener.Port++ }), nil, janitor.Stray},
		"a listener on another balancer":     {listenerOf(func(r *janitor.Resource) { r.Listener.LoadBalancerARN = "other" }), nil, janitor.Stray},
		"a listener that forwards elsewhere": {listenerOf(func(r *janitor.Resource) { r.Listener.TargetGroupARNs = []string{"other"} }), nil, janitor.Stray},
		"a listener that forwards to others": {listenerOf(func(r *janitor.Resource) { r.Listener.TargetGroupARNs = []string{"group", "other"} }), nil, janitor.Stray},
		"a listener without license":         {listenerOf(func(*janitor.Resource) {}), func(p *ledger.Port) { p.State, p.TargetGroupARN = ledger.Claimed, "" }, janitor.Stray},
		"a listener whose license was lost":  {listenerOf(func(*janitor.Resource) {}), func(p *ledger.Port) { p.State, p.TargetGroupARN, p.Restored = ledger.Claimed, "", true }, janitor.Keep},
		"a target group of another pod":      {groupOf(func(r *janitor.Resource) { r.Tags.PodUID = "u2" }), nil, janitor.Stray},
		"a listener of another pod":          {listenerOf(func(r *janitor.Resource) { r.Tags.PodUID = "u2" }), nil, janitor.Stray},
	} {
		p := port
		if c.change != nil {
			c.change(&p)
		}
		if got, why := janitor.ClassifyOrphan(c.resource, &p); got != c.want {
			t.Errorf("%s: got %s (%s), want %s", name, got, why, c.want)
		}
	}
}
