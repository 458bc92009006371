package health_test

import (
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/agent/health"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/shared/api"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func middle() float64 { return 0.5 }

// held is a bound claim on so many ports, of whose targets nothing is known.
func held(ports int) *holding.Holding {
	c := api.Claim{UID: "claim-1", LoadBalancer: api.LoadBalancer{Host: "games.elb.example"}}
	for n := range ports {
		c.Ports = append(c.Ports, api.ClaimedPort{
			Port: api.Port{Name: string(rune('a' + n))}, ListenerPort: 30000 + n, Fence: api.Fence{Lease: "lb", Generation: n},
		})
	}
	h := holding.New()
	h.Adopt(c)
	return h
}

func describe(h *holding.Holding, port int, state string, healthy bool) {
	h.Update(h.Claim.Ports[port].Fence, func(b *holding.Binding) { b.TargetState, b.Healthy = state, healthy })
}

func TestPodIsReachableOnceAllTargetsAreHealthy(t *testing.T) {
	var tracker health.Tracker
	h := held(2)
	tracker.Watch(start, h)
	for _, step := range []struct {
		port      int
		state     string
		healthy   bool
		reachable bool
		message   string
	}{
		{0, "initial", false, false, "port a is initial"},
		{0, "healthy", true, false, "port b is not described yet"},
		{1, "unhealthy", false, false, "port b is unhealthy"},
		{1, "healthy", true, true, "games.elb.example:30000 (a), games.elb.example:30001 (b)"},
	} {
		describe(h, step.port, step.state, step.healthy)
		tracker.Described(start, h, middle)
		c := tracker.Condition()
		if c.Reachable != step.reachable || !strings.Contains(c.Message, step.message) {
			t.Errorf("after port %d is %s the condition is %+v; want %v and %q", step.port, step.state, c, step.reachable, step.message)
		}
		if _, more := tracker.NextDescribe(); more == step.reachable {
			t.Errorf("after port %d is %s it describes targets: %v", step.port, step.state, more)
		}
	}
}

func TestTargetsAreDescribedEverMoreRarely(t *testing.T) {
	var tracker health.Tracker
	h, now := held(1), start
	tracker.Watch(now, h)
	for _, want := range []time.Duration{5, 5, 10, 20, 40, 60, 60} {
		next, more := tracker.NextDescribe()
		if got := next.Sub(now); !more || got != want*time.Second {
			t.Fatalf("the next describe comes after %v, want %v", got, want*time.Second)
		}
		if n := tracker.Describes(next.Add(-1), h); n != 0 {
			t.Errorf("it asks for %d describe calls too early", n)
		}
		if n := tracker.Describes(next, h); n != 1 {
			t.Errorf("it asks for %d describe calls for one port", n)
		}
		now = next
		tracker.Described(now, h, middle)
	}
}

func TestDescribesAreOneForEachTargetNotHealthyWithinTheLimit(t *testing.T) {
	for healthy, want := range map[int]int{0: api.MaxDescribes, 3: 3, 6: 0} {
		var tracker health.Tracker
		h := held(6)
		tracker.Watch(start, h)
		for n := range healthy {
			describe(h, n, "healthy", true)
		}
		if got := tracker.Describes(start.Add(time.Hour), h); got != want {
			t.Errorf("with %d of 6 targets healthy it asks for %d describe calls, want %d", healthy, got, want)
		}
	}
}

func TestPostponedDescribeWaits(t *testing.T) {
	var tracker health.Tracker
	h := held(1)
	tracker.Watch(start, h)
	tracker.Postpone(start.Add(time.Hour))
	if n := tracker.Describes(start.Add(59*time.Minute), h); n != 0 {
		t.Errorf("it asks for %d describe calls", n)
	}
	if n := tracker.Describes(start.Add(time.Hour), h); n != 1 {
		t.Errorf("then it asks for %d describe calls", n)
	}
}

func TestGameDecidesBeforeItsTargets(t *testing.T) {
	var tracker health.Tracker
	h := held(1)
	describe(h, 0, "healthy", true)
	if tracker.Watch(start, h); !tracker.Condition().Reachable {
		t.Fatalf("the condition is %+v", tracker.Condition())
	}
	if tracker.SetGameReady(start, h, true) {
		t.Error("a game is ready unless it says otherwise")
	}
	if !tracker.SetGameReady(start, h, false) || tracker.Condition().Reason != health.ReasonGameNotReady {
		t.Errorf("the condition is %+v", tracker.Condition())
	}
	if _, more := tracker.NextDescribe(); more {
		t.Error("it describes the target of a game that is not ready")
	}
	// The state from before says nothing about the game now.
	if !tracker.SetGameReady(start, h, true) || tracker.Condition().Reachable || tracker.Condition().Reason != health.ReasonTargetNotHealthy {
		t.Errorf("the condition is %+v", tracker.Condition())
	}
	describe(h, 0, "healthy", true)
	if tracker.Described(start, h, middle); !tracker.Condition().Reachable {
		t.Errorf("the condition is %+v", tracker.Condition())
	}
}

func TestRepairAndWithdrawalMakeThePodUnreachable(t *testing.T) {
	h := held(1)
	describe(h, 0, "healthy", true)
	for reason, apply := range map[string]func(*health.Tracker){
		health.ReasonRepairing: (*health.Tracker).Repairing, health.ReasonWithdrawn: (*health.Tracker).Withdrawn,
	} {
		var tracker health.Tracker
		tracker.Watch(start, h)
		apply(&tracker)
		if c := tracker.Condition(); c.Reachable || c.Reason != reason || c.Message == "" {
			t.Errorf("the condition is %+v, want %s", c, reason)
		}
	}
}
