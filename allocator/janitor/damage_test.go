package janitor_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

var (
	boundPort = ledger.Port{State: ledger.Bound, ListenerPort: 30000, PortName: "game", ListenerARN: "listener-1", TargetGroupARN: "group-1"}
	holder    = ledger.Claim{PodIP: "10.0.0.1", ConfirmedIP: "10.0.0.1", Requested: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}}
)

func TestDamage(t *testing.T) {
	whole := elb.Listener{ARN: "listener-1", Port: 30000, Protocol: "UDP", TargetGroupARNs: []string{"group-1"}}
	with := func(change func(*elb.Listener)) []elb.Listener {
		l := whole
		change(&l)
		return []elb.Listener{{ARN: "listener-0", Port: 30001}, l}
	}
	groups := map[string]bool{"group-0": true, "group-1": true}
	for name, c := range map[string]struct {
		listeners []elb.Listener
		groups    map[string]bool
		want      string
	}{
		"intact":           {with(func(*elb.Listener) {}), groups, ""},
		"no listener":      {with(func(l *elb.Listener) { l.ARN = "listener-2" }), groups, "listener gone"},
		"no target group":  {with(func(*elb.Listener) {}), map[string]bool{"group-0": true}, "target group gone"},
		"another port":     {with(func(l *elb.Listener) { l.Port = 30001 }), groups, "listener on another port"},
		"forwards nowhere": {with(func(l *elb.Listener) { l.TargetGroupARNs = nil }), groups, "listener forwards elsewhere"},
		"forwards twice":   {with(func(l *elb.Listener) { l.TargetGroupARNs = []string{"group-1", "group-0"} }), groups, "listener forwards elsewhere"},
		"another protocol": {with(func(l *elb.Listener) { l.Protocol = "TCP" }), groups, "listener has another protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := janitor.Damage(boundPort, holder, c.listeners, c.groups); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := janitor.Damage(boundPort, ledger.Claim{}, with(func(*elb.Listener) {}), groups); got != "" {
		t.Errorf("without a claim: %q", got)
	}
}

func TestCheckTargets(t *testing.T) {
	own := elb.Target{IP: "10.0.0.1", Port: 7777, State: elb.TargetUnhealthy, Reason: "Target.FailedHealthChecks"}
	const unhealthy = "unhealthy: Target.FailedHealthChecks"
	other, otherPort := elb.Target{IP: "10.0.0.9", Port: 7777}, elb.Target{IP: "10.0.0.1", Port: 7778}
	shifted := own
	shifted.Override = "zonal_shift_active"
	moving, unconfirmed := holder, holder
	moving.PreviousIP, unconfirmed.ConfirmedIP = "10.0.0.9", "10.0.0.9"
	for name, c := range map[string]struct {
		claim   ledger.Claim
		targets []elb.Target
		want    janitor.TargetCheck
	}{
		"intact":                       {holder, []elb.Target{own}, janitor.TargetCheck{Health: unhealthy}},
		"zonal shift":                  {holder, []elb.Target{shifted}, janitor.TargetCheck{Health: "AdministrativeOverride: zonal_shift_active"}},
		"another target drains":        {holder, []elb.Target{own, {IP: "10.0.0.9", Port: 7777, State: elb.TargetDraining}}, janitor.TargetCheck{Health: unhealthy}},
		"no target":                    {holder, nil, janitor.TargetCheck{Damage: "pod is not a target"}},
		"the pod drains":               {holder, []elb.Target{{IP: "10.0.0.1", Port: 7777, State: elb.TargetDraining}}, janitor.TargetCheck{Damage: "pod is not a target"}},
		"a foreign target":             {holder, []elb.Target{own, other}, janitor.TargetCheck{Damage: "target is not the pod", Others: []elb.Target{other}, Health: unhealthy}},
		"another port":                 {holder, []elb.Target{otherPort}, janitor.TargetCheck{Damage: "target is not the pod", Others: []elb.Target{otherPort}}},
		"the address changes":          {moving, nil, janitor.TargetCheck{}},
		"the address is not confirmed": {unconfirmed, nil, janitor.TargetCheck{}},
		"unknown port":                 {ledger.Claim{}, nil, janitor.TargetCheck{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, janitor.CheckTargets(boundPort, c.claim, c.targets)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
