package janitor_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

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
		"whole":            {with(func(*elb.Listener) {}), groups, ""},
		"no listener":      {with(func(l *elb.Listener) { l.ARN = "listener-2" }), groups, "listener gone"},
		"no target group":  {with(func(*elb.Listener) {}), map[string]bool{"group-0": true}, "target group gone"},
		"another port":     {with(func(l *elb.Listener) { l.Port = 30001 }), groups, "listener on another port"},
		"forwards nowhere": {with(func(l *elb.Listener) { l.TargetGroupARNs = nil }), groups, "listener forwards elsewhere"},
		"forwards twice":   {with(func(l *elb.Listener) { l.TargetGroupARNs = []string{"group-1", "group-0"} }), groups, "listener forwards elsewhere"},
		"another protocol": {with(func(l *elb.Listener) { l.Protocol = "TCP" }), groups, "listener speaks another protocol"},
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

func TestDamagedTargets(t *testing.T) {
	own := elb.Target{IP: "10.0.0.1", Port: 7777, State: elb.TargetHealthy}
	moving, unsettled := holder, holder
	moving.PreviousIP, unsettled.ConfirmedIP = "10.0.0.9", "10.0.0.9"
	for name, c := range map[string]struct {
		claim   ledger.Claim
		targets []elb.Target
		want    string
	}{
		"whole":           {holder, []elb.Target{own}, ""},
		"one drains":      {holder, []elb.Target{own, {IP: "10.0.0.9", Port: 7777, State: elb.TargetDraining}}, ""},
		"none":            {holder, nil, "the pod is no target"},
		"it drains":       {holder, []elb.Target{{IP: "10.0.0.1", Port: 7777, State: elb.TargetDraining}}, "the pod is no target"},
		"a stranger":      {holder, []elb.Target{own, {IP: "10.0.0.9", Port: 7777}}, "a target that is not the pod"},
		"another port":    {holder, []elb.Target{own, {IP: "10.0.0.1", Port: 7778}}, "a target that is not the pod"},
		"it moves":        {moving, nil, ""},
		"it is unsettled": {unsettled, nil, ""},
		"unknown port":    {ledger.Claim{}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := janitor.DamagedTargets(boundPort, c.claim, c.targets); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// writable is a true table that versions what is written.
type writable struct {
	still
	writes int
}

func (w *writable) Update(_ context.Context, r portRecord) (portRecord, error) {
	i := slices.IndexFunc(w.view, func(other portRecord) bool { return other.Name == r.Name && other.Version == r.Version })
	if i < 0 {
		return r, ledger.ErrConflict
	}
	w.writes++
	r.Version = "w" + strconv.Itoa(w.writes)
	w.view[i] = r
	return r, nil
}

// bare is AWS with one load balancer on which nobody listens.
type bare struct{ janitor.AWS }

func (bare) TargetGroups(context.Context) ([]elb.TargetGroup, error) { return nil, nil }

func (bare) List(context.Context) (map[string][]elb.Listener, error) {
	return map[string][]elb.Listener{"": nil}, nil
}

func (bare) Listeners(context.Context, string) ([]elb.Listener, error) { return nil, nil }
func (bare) Offers(string, int) bool                                   { return true }

// TestDamageCountsOnceSeenTwice: AWS may show late what is there, and a port that
// was written in between is seen for the first time again.
func TestDamageCountsOnceSeenTwice(t *testing.T) {
	ports := &writable{still: still{late[ledger.Port]{[]portRecord{portIn(ledger.Bound, "")}}}}
	w := newWatch()
	events := 0
	j := janitor.New(janitor.Config{
		Claims: lateClaims{&late[ledger.Claim]{}}, Ports: ports, AWS: bare{}, Listings: bare{}, Observer: w.Observer, Timing: timing,
		Warn:  func(context.Context, string, string, string, string, string) error { events++; return nil },
		Count: func(string, string) {}, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
	audit := func(want ledger.PortState, wantEvents int) {
		t.Helper()
		if err := j.Audit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := ports.view[0].Value.State; got != want || events != wantEvents {
			t.Errorf("the port is %s after %d events, want %s after %d", got, events, want, wantEvents)
		}
	}
	audit(ledger.Bound, 0)
	if _, err := ports.Update(t.Context(), ports.view[0]); err != nil {
		t.Fatal(err)
	}
	audit(ledger.Bound, 0)
	audit(ledger.Claimed, 1)
	audit(ledger.Claimed, 1) // what is not bound cannot be damaged
}
