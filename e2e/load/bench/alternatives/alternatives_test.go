package alternatives

import (
	"testing"
	"testing/synctest"
	"time"
)

// run runs an alternative on a clock that does not wait.
func run(t *testing.T, a Alternative, pods int) (r Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		_, stop, err := Start(t.Context(), a, pods, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // by then all of AWS knows the target groups
		if r, err = stop(time.Hour); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%s: %+v", a.Name, r)
	return r
}

func TestEveryAlternativeBindsAllPods(t *testing.T) {
	const pods = 30
	for _, a := range []Alternative{Operator(), Standard(), Controller()} {
		t.Run(a.Name, func(t *testing.T) {
			r := run(t, a, pods)
			// A group, a target and a listener for each pod.
			if r.Failed > 0 || r.Calls-r.Throttled < 3*pods || r.Start <= 0 || r.Stop <= 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// TestAdaptiveAgentsBind runs on the real clock: the SDK's adaptive rate waits for tokens in
// steps that are too short for a clock that stands still between them.
func TestAdaptiveAgentsBind(t *testing.T) {
	const pods = 2
	f, err := newFleet(t.Context(), Adaptive(), pods)
	if err != nil {
		t.Fatal(err)
	}
	within(t.Context(), time.Minute, Adaptive().run(f).start)
	if len(f.times.bound) != pods {
		t.Errorf("%d of %d pods are bound", len(f.times.bound), pods)
	}
}

// TestUnpacedAgentsAreThrottled: callers that retry on their own take more than AWS gives.
func TestUnpacedAgentsAreThrottled(t *testing.T) {
	if r := run(t, Standard(), 60); r.Throttled == 0 {
		t.Errorf("agents without a budget: %+v", r)
	}
}

func TestOperatorLeavesEveryTargetGroupBehind(t *testing.T) {
	const pods = 5
	// AWS refuses to delete a target group for 20 s after its listener is gone.
	if r := run(t, Operator(), pods); r.Leftovers != pods {
		t.Errorf("%d leftovers of %d pods: %+v", r.Leftovers, pods, r)
	}
}

func TestControllerLeavesNothingBehind(t *testing.T) {
	if r := run(t, Controller(), 5); r.Leftovers != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestPodsThatAreNotBoundInTimeFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 2 * time.Second
		r, _, err := Start(t.Context(), Controller(), 50, patience)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed == 0 || r.Start != patience {
			t.Errorf("got %+v", r)
		}
	})
}
