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

// account is AWS as far as unbinding one port goes. It notes what is deleted.
type account struct {
	janitor.AWS
	janitor.Listings
	listeners []elb.Listener
	tags      map[string]map[string]string
	deleted   []string
}

func (a *account) Listeners(context.Context, string) ([]elb.Listener, error) { return a.listeners, nil }

func (a *account) Tags(_ context.Context, arns ...string) (map[string]map[string]string, error) {
	found := make(map[string]map[string]string)
	for _, arn := range arns {
		if m, exists := a.tags[arn]; exists {
			found[arn] = m
		}
	}
	return found, nil
}

func (a *account) DeleteListener(_ context.Context, arn string) error {
	a.deleted = append(a.deleted, arn)
	return nil
}

func (a *account) DeleteTargetGroup(_ context.Context, arn string) error {
	a.deleted = append(a.deleted, arn)
	return nil
}

// TestUnbindingFindsTheListenerThatAPersonRedirected: its agent created it and
// could not report it, so neither the record nor the target group leads to it.
func TestUnbindingFindsTheListenerThatAPersonRedirected(t *testing.T) {
	own := elb.Tags{Ledger: "l", Namespace: "games", Pod: "game-0", PodUID: "u1", Lease: fence.Lease, Epoch: fence.Epoch, Generation: fence.Generation}
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
			port.Value.ListenerPort, port.Value.TargetGroupARN, port.Value.ListenerARN = 30000, "group", "recorded"
			aws := &account{listeners: []elb.Listener{c.listener}, tags: map[string]map[string]string{c.listener.ARN: c.tags.Map(), "group": own.Map()}}
			w := newWatch()
			j := janitor.New(janitor.Config{
				Ledger: "l", Claims: lateClaims{&late[ledger.Claim]{}}, Ports: &still{late[ledger.Port]{[]portRecord{port}}},
				AWS: aws, Listings: aws, Observer: w.Observer, Timing: timing,
				MayUnbind: func(context.Context, string) (bool, error) { return true, nil },
				Prepaid:   func(ctx context.Context) context.Context { return ctx },
				Count:     func(string, string) {},
				Now:       func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
			})
			if err := j.Sweep(t.Context()); err != nil {
				t.Log(err) // the ledger of this test takes no writes
			}
			if !slices.Equal(aws.deleted, c.want) {
				t.Errorf("deleted %v, want %v", aws.deleted, c.want)
			}
		})
	}
}
