package janitor_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

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
	ports := &current{}
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
	w := newTestObserver()
	j := janitor.New(janitor.Config{
		Claims: staleClaims{&stale[ledger.Claim]{[]claimRecord{holding}}}, Ports: ports, AWS: aws, Listings: aws, Observer: w.Observer, Timing: timing,
		Count: func(string, string) {}, Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
	for range many {
		if err := j.Audit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(aws.checked) != many {
		t.Errorf("the targets of only %d of %d ports were checked", len(aws.checked), many)
	}
}
