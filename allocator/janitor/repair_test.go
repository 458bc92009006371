package janitor_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// writablePorts is a current table that accepts writes.
type writablePorts struct {
	*current[ledger.Port]
	writes int
}

func (w *writablePorts) Update(_ context.Context, r portRecord) (portRecord, error) {
	i := slices.IndexFunc(w.cache, func(other portRecord) bool { return other.Name == r.Name && other.Version == r.Version })
	if i < 0 {
		return r, ledger.ErrConflict
	}
	w.writes++
	r.Version = "w" + strconv.Itoa(w.writes)
	w.cache[i] = r
	return r, nil
}

// AWS may show a binding late. A port that was written in between counts as seen for the
// first time again.
func TestDamageCountsAtTheSecondSighting(t *testing.T) {
	ports := &writablePorts{current: currentTable(portIn(ledger.Bound, ""))}
	events := 0
	c := newConfig(newTestObserver(), staleTable[ledger.Claim](), ports)
	c.Warn = func(context.Context, string, string, string, string, string) error { events++; return nil }
	j := janitor.New(c)
	audit := func(want ledger.PortState, wantEvents int) {
		t.Helper()
		if err := j.Audit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := ports.cache[0].Value.State; got != want || events != wantEvents {
			t.Errorf("the port is %s after %d events, want %s after %d", got, events, want, wantEvents)
		}
	}
	audit(ledger.Bound, 0)
	if _, err := ports.Update(t.Context(), ports.cache[0]); err != nil {
		t.Fatal(err)
	}
	audit(ledger.Bound, 0)
	audit(ledger.Claimed, 1)
	audit(ledger.Claimed, 1) // a port that is not bound cannot be damaged
}

// untargetedAWS is AWS with intact listeners whose target groups have no targets.
type untargetedAWS struct {
	emptyAWS
	listeners []elb.Listener
	checked   map[string]bool // target groups whose targets were read
}

func (u untargetedAWS) List(context.Context) (map[string][]elb.Listener, error) {
	return map[string][]elb.Listener{"": u.listeners}, nil
}

func (u untargetedAWS) TargetGroups(context.Context) ([]elb.TargetGroup, error) {
	var groups []elb.TargetGroup
	for _, l := range u.listeners {
		groups = append(groups, elb.TargetGroup{ARN: l.TargetGroupARNs[0]})
	}
	return groups, nil
}

func (u untargetedAWS) Targets(_ context.Context, targetGroupARN string) ([]elb.Target, error) {
	u.checked[targetGroupARN] = true
	return nil, nil
}

// The cache of ports is stuck, so every write of a damaged port conflicts. The targets of
// all other ports are checked all the same.
func TestDamageThatCannotBeWrittenDoesNotBlockTargetChecks(t *testing.T) {
	const many = 9
	holding := claimIn(ledger.Granted)
	holding.Value.PodIP, holding.Value.ConfirmedIP = "10.0.0.1", "10.0.0.1"
	holding.Value.Requested = []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}
	ports := currentTable[ledger.Port]()
	aws := untargetedAWS{checked: make(map[string]bool)}
	for n := range many {
		p := portIn(ledger.Bound, "")
		p.Name = fmt.Sprintf("lb-3000%d", n)
		p.Value.ListenerPort, p.Value.PortName = 30000+n, "game"
		p.Value.ListenerARN, p.Value.TargetGroupARN = fmt.Sprintf("listener-%d", n), fmt.Sprintf("group-%d", n)
		ports.cache = append(ports.cache, p)
		aws.listeners = append(aws.listeners, elb.Listener{
			ARN: p.Value.ListenerARN, Port: p.Value.ListenerPort, Protocol: "UDP", TargetGroupARNs: []string{p.Value.TargetGroupARN},
		})
	}
	c := newConfig(newTestObserver(), staleTable(holding), ports)
	c.AWS, c.Listings = aws, aws
	j := janitor.New(c)
	for range many {
		if err := j.Audit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(aws.checked) != many {
		t.Errorf("the targets of only %d of %d ports were checked", len(aws.checked), many)
	}
}
