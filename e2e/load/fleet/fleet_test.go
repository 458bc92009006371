package fleet

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

var kube *kubeapi.API

func TestMain(m *testing.M) { os.Exit(scenario.RunTests(m, &kube)) }

func TestASmallFleetIsHardlyThrottled(t *testing.T) {
	f := &fleet{pods: 24, speed: 3, Stage: &scenario.Stage{Kube: kube, Out: t.Output(), Progress: t.Output()}}
	if err := f.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close(t) })
	before, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.bind(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("makespan/bound %.2f, throttled %.2f%%, %d PUTs", r.makespan()/r.bound(), r.throttledPercent(), r.puts.Load())
	if r.throttledPercent() > mostThrottled {
		t.Errorf("%.2f%% of the calls were throttled", r.throttledPercent())
	}
	// Each call more is one that another pod has to wait for.
	for action, want := range map[string]int{"CreateTargetGroup": f.pods, "CreateListener": f.pods, "RegisterTargets": f.pods} {
		if n, _ := r.of(action); n != want {
			t.Errorf("%d calls of %s, want %d", n, action, want)
		}
	}
	if err := rig.Eventually(t.Context(), "few file descriptors", func() error { return f.fewDescriptors(before) }); err != nil {
		t.Error(err)
	}
}

// close ends all pods at once, and expects that nothing is left.
func (f *fleet) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for _, p := range f.all {
		if err := p.Signal(); err != nil {
			t.Error(err)
		}
	}
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}

// mostDescriptors are how many file descriptors an agent in this process adds once its pod is
// bound. The usual limit is 20,000 for all, and the rig has three more for each pod.
const mostDescriptors = 8

// fewDescriptors returns an error while pods have more than that.
func (f *fleet) fewDescriptors(before int) error {
	now, err := descriptors()
	if err != nil {
		return err
	}
	if each := float64(now-before) / float64(f.pods); each > mostDescriptors {
		return fmt.Errorf("%.1f of each pod, %d before", each, before)
	}
	return nil
}

// Pods that stop together waste no call on target groups that are in use.
func TestASmallFleetStopsWithoutRefusedCalls(t *testing.T) {
	f := &fleet{pods: 8, speed: 4, grace: grace, Stage: &scenario.Stage{Kube: kube, Out: t.Output(), Progress: t.Output()}}
	if err := f.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close(t) })
	if _, err := f.bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := f.stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.table(t.Output()); err != nil {
		t.Error(err)
	}
	if n := r.refused("DeleteTargetGroup"); n > 0 {
		t.Errorf("AWS refused %d deletions of target groups", n)
	}
	if n, _ := r.of("DeleteListener"); n != f.pods {
		t.Errorf("%d calls of DeleteListener, want %d", n, f.pods)
	}
}

// Pods that crash together come back no slower than their claims expire and AWS allows.
func TestASmallFleetCrashes(t *testing.T) {
	c, err := measureCrash(t.Context(), &fleet{pods: 12, speed: 15, Stage: &scenario.Stage{Kube: kube, Out: t.Output(), Progress: t.Output()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f s of %.0f, throttled %.2f%%", c.Took.Seconds(), c.Least.Seconds(), c.Throttled)
	if c.Took < c.Least/2 || c.Throttled > mostThrottled {
		t.Errorf("it took %v of %v, and %.2f%% of the calls were throttled", c.Took, c.Least, c.Throttled)
	}
}

// Pods that come and go are all bound, and leave nothing.
func TestASmallFleetIsReplaced(t *testing.T) {
	stage := &scenario.Stage{Kube: kube, Out: t.Output(), Progress: t.Output()}
	const pods, surge = 8, 3
	r, err := MeasureRolling(t.Context(), stage, pods, surge)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f s of %.0f, throttled %.2f%%, refused deletions %.2f%%, waits %v", r.Took.Seconds(), r.Least.Seconds(), r.Throttled, r.Refused, r.Waits)
	if len(r.Waits) != pods || r.Took < r.Least/2 || r.Throttled > mostThrottled || r.Refused > mostRefused {
		t.Errorf("got %+v", r)
	}
}

func TestASlowOrThrottledResultIsAnError(t *testing.T) {
	f := &fleet{pods: 300, speed: 2}
	for name, c := range map[string]struct {
		took      time.Duration
		throttled int
		good      bool
	}{
		"good":      {100 * time.Second, 0, true},
		"slow":      {102 * time.Second, 0, false},
		"throttled": {100 * time.Second, 1, false},
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

// descriptors counts the open file descriptors of this process.
func descriptors() (int, error) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("counting file descriptors: %w", err)
	}
	return len(open), nil
}
