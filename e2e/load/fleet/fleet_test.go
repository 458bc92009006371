package fleet

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

func TestASmallFleetIsHardlyThrottled(t *testing.T) {
	f := fleet{pods: 24, speed: 3, Stage: &scenario.Stage{Kube: kube, Out: t.Output(), Progress: t.Output()}}
	if err := f.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	r, err := f.bind(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("makespan/bound %.2f, throttled %.2f%%, %d PUTs", r.makespan()/r.bound(), r.throttledPercent(), r.puts.Load())
	if r.throttledPercent() > mostThrottled {
		t.Errorf("%.2f%% of the calls were throttled", r.throttledPercent())
	}
	for action, want := range map[string]int{"CreateTargetGroup": f.pods, "CreateListener": f.pods, "RegisterTargets": f.pods} {
		if n, _ := r.of(action); n != want {
			t.Errorf("%d calls of %s, want %d", n, action, want)
		}
	}
}

func TestASlowOrThrottledResultIsAnError(t *testing.T) {
	f := &fleet{pods: 300, speed: 2}
	for name, c := range map[string]struct {
		took      time.Duration
		throttled int
		good      bool
	}{
		"good":      {100 * time.Second, 6, true},
		"slow":      {102 * time.Second, 0, false},
		"throttled": {100 * time.Second, 7, false},
	} {
		r := newResult(f)
		r.took = c.took
		r.before = map[string]elbemu.CallCount{"CreateListener": {Total: 100, Failed: 50, Throttled: 50}}
		r.after = map[string]elbemu.CallCount{"CreateListener": {Total: 700, Failed: 50, Throttled: 50 + c.throttled}}
		if err := r.print(t.Output()); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
