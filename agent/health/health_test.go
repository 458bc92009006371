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

func TestFirstThingThatIsWrongIsTheReason(t *testing.T) {
	well := func() health.Facts {
		return health.Facts{
			Game: health.GameRunning, Endpoints: "games.elb.example:30000 (a), games.elb.example:30001 (b)",
			Targets: []health.Target{{Port: "a", State: "healthy", Healthy: true}, {Port: "b", State: "healthy", Healthy: true}},
		}
	}
	// Each row adds something worse to the rows before it.
	f := well()
	for _, row := range []struct {
		change          func()
		reason, message string
	}{
		{func() {}, health.ReasonTargetHealthy, "games.elb.example:30000 (a), games.elb.example:30001 (b)"},
		{func() { f.ChecksStopped = true }, health.ReasonHealthChecksStopped, "security groups"},
		{func() { f.Targets[1] = health.Target{Port: "b", State: "unhealthy: Target.FailedHealthChecks"} }, health.ReasonTargetNotHealthy, "port b is unhealthy: Target.FailedHealthChecks"},
		{func() { f.Targets[1].State = "unused: Target.NotInUse" }, health.ReasonTargetNotInUse, "zone of the pod"},
		{func() { f.Targets[1].State = "AdministrativeOverride: zonal_shift_active" }, health.ReasonZonalShift, "zonal shift"},
		{f.ForgetTargets, health.ReasonTargetNotHealthy, "port a is not described yet"},
		{func() { f.Game, f.Problem = health.GameStopped, silent }, health.ReasonGameStopped, silent},
		{func() { f.Game = health.GameStarting }, health.ReasonGameStarting, silent},
		{func() { f.GameNotReady = true }, health.ReasonGameNotReady, "takes no players"},
		{func() { f.Obstacle = health.Obstacle{Reason: "PoolExhausted", Message: "no port is free"} }, "PoolExhausted", "no port is free"},
	} {
		row.change()
		c := f.Condition()
		if c.Reachable != (row.reason == health.ReasonTargetHealthy) || c.Reason != row.reason || !strings.Contains(c.Message, row.message) {
			t.Errorf("the condition is %+v, want %s with %q", c, row.reason, row.message)
		}
	}
	unwatched := well()
	unwatched.Game = health.GameUnwatched
	if !unwatched.Condition().Reachable || !unwatched.GameWell() {
		t.Errorf("nobody watches the game, and the condition is %+v", unwatched.Condition())
	}
}

func TestTargetsAreThoseOfTheClaim(t *testing.T) {
	h := holding.New()
	h.Adopt(api.Claim{UID: "claim-1", Ports: []api.ClaimedPort{
		{Port: api.Port{Name: "a"}, Fence: api.Fence{Lease: "lb-1"}}, {Port: api.Port{Name: "b"}, Fence: api.Fence{Lease: "lb-2"}},
	}})
	h.Update(api.Fence{Lease: "lb-2"}, func(b *holding.Binding) { b.TargetState, b.Healthy = "healthy", true })
	got := health.TargetsOf(h)
	if len(got) != 2 || got[0] != (health.Target{Port: "a"}) || got[1] != (health.Target{Port: "b", State: "healthy", Healthy: true}) {
		t.Errorf("targets are %+v", got)
	}
}

func TestTargetsAreDescribedEverMoreRarely(t *testing.T) {
	var polls health.Polls
	now := start
	polls.Start(now)
	for _, want := range []time.Duration{5, 5, 10, 20, 40, 60, 60} {
		next, more := polls.Next()
		if got := next.Sub(now); !more || got != want*time.Second {
			t.Fatalf("the next describe comes after %v, want %v", got, want*time.Second)
		}
		if n := polls.Describes(next.Add(-1), 1); n != 0 {
			t.Errorf("it asks for %d describe calls too early", n)
		}
		if n := polls.Describes(next, 1); n != 1 {
			t.Errorf("it asks for %d describe calls for one port", n)
		}
		now = next
		polls.Described(now, middle)
	}
	polls.Stop()
	if _, more := polls.Next(); more || polls.Describes(now.Add(time.Hour), 1) != 0 {
		t.Error("it describes after it was stopped")
	}
}

func TestDescribesAreOneForEachTargetNotHealthyWithinTheLimit(t *testing.T) {
	for notHealthy, want := range map[int]int{6: api.MaxDescribes, 3: 3, 0: 0} {
		var polls health.Polls
		polls.Start(start)
		if got := polls.Describes(start.Add(time.Hour), notHealthy); got != want {
			t.Errorf("with %d targets not healthy it asks for %d describe calls, want %d", notHealthy, got, want)
		}
	}
}

func TestPostponedDescribeWaits(t *testing.T) {
	var polls health.Polls
	polls.Start(start)
	polls.Postpone(start.Add(time.Hour))
	if n := polls.Describes(start.Add(59*time.Minute), 1); n != 0 {
		t.Errorf("it asks for %d describe calls", n)
	}
	if n := polls.Describes(start.Add(time.Hour), 1); n != 1 {
		t.Errorf("then it asks for %d describe calls", n)
	}
}
