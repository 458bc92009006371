package binder_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestBindCreatesEachPartOnceAndReportsIt(t *testing.T) {
	w := newWorld(t)
	before := len(w.emulator.Calls())
	h := w.bound()
	want := []string{"CreateListener", "CreateTargetGroup", "DescribeTags", "RegisterTargets"}
	if got := w.actions(before); !slices.Equal(got, want) {
		t.Errorf("binding made the calls %v, want %v", got, want)
	}
	if len(h.Unbound()) != 0 || h.Claim.Ports[0].TargetGroupARN == "" || h.Claim.Ports[0].ListenerARN == "" {
		t.Errorf("the holding says %+v", h.Claim.Ports[0])
	}
	if got := w.targets(h.Claim.Ports[0].TargetGroupARN); !slices.Equal(got, []string{podIP}) {
		t.Errorf("targets are %v", got)
	}
	if w.reports.after["targetGroup"] != before+1 || w.reports.after["bound"] != before+4 {
		t.Errorf("reports came after %v calls", w.reports.after)
	}
}

func TestListenerIsNotCreatedWithoutLicense(t *testing.T) {
	w := newWorld(t)
	w.reports.refuse["targetGroup"] = api.Errorf(api.Unavailable, "no API server")
	h := w.holding()
	err := w.bind(w.binder(), h)
	if !errors.Is(err, w.reports.refuse["targetGroup"]) || len(w.emulator.Snapshot().Listeners) != 0 {
		t.Errorf("got %v and listeners %+v", err, w.emulator.Snapshot().Listeners)
	}
}

// The calls for a listener are paid for only once its target group can be used.
func TestListenersHaveAGrantOfTheirOwn(t *testing.T) {
	w := newWorldOn(t, elbemu.Config{Delays: &elbemu.Delays{TargetGroupLag: 2 * time.Second}})
	w.claim.PropagationSeconds = 2
	w.morePorts(2)
	b, h := w.binder(), w.holding()
	before := len(w.emulator.Calls())
	if done, err := b.Bind(t.Context(), h, h.Claim.Ports...); done || err != nil {
		t.Fatal(done, err)
	}
	if got, want := w.actions(before), []string{"CreateTargetGroup", "CreateTargetGroup"}; !slices.Equal(got, want) || w.slept != 2*time.Second {
		t.Errorf("the first grant was used for %v in %v, want %v", got, w.slept, want)
	}
	before = len(w.emulator.Calls())
	if done, err := b.Bind(t.Context(), h, h.Claim.Ports...); !done || err != nil {
		t.Fatal(done, err)
	}
	want := []string{"CreateListener", "CreateListener", "DescribeTags", "RegisterTargets", "RegisterTargets"}
	if got := w.actions(before); !slices.Equal(got, want) {
		t.Errorf("the second grant was used for %v, want %v", got, want)
	}
}

// A pod that dies leaves at most one target group that the ledger does not know.
func TestEachTargetGroupIsRecordedBeforeTheNextIsCreated(t *testing.T) {
	w := newWorld(t)
	w.morePorts(3)
	w.reports.refuse["targetGroup"] = api.Errorf(api.Unavailable, "no API server")
	h := w.holding()
	if _, err := w.binder().Bind(t.Context(), h, h.Claim.Ports...); err == nil {
		t.Fatal("a refused report is no error")
	}
	if n := len(w.emulator.Snapshot().TargetGroups); n != 1 {
		t.Errorf("%d target groups are not recorded", n)
	}
}

func TestNewBinderOnlyReadsWhatIsInPlace(t *testing.T) {
	w := newWorld(t)
	w.claim = w.bound().Claim
	before := len(w.emulator.Calls())
	if h := w.bound(); len(h.Unbound()) != 0 || len(h.NotHealthy()) != 0 {
		t.Errorf("the holding says %+v", h.Binding(h.Claim.Ports[0]))
	}
	want := []string{"DescribeListeners", "DescribeTags", "DescribeTargetHealth"}
	if got := w.actions(before); !slices.Equal(got, want) {
		t.Errorf("binding again made the calls %v, want %v", got, want)
	}
}

func TestForeignTargetGroupIsNotReportedBound(t *testing.T) {
	w := newWorld(t)
	w.claim = w.bound().Claim
	w.retag(w.claim.Ports[0].TargetGroupARN)
	delete(w.reports.after, "bound")
	h := w.holding()
	err := w.bind(w.binder(), h)
	if _, reported := w.reports.after["bound"]; reported || !errors.Is(err, failure.ErrForeign) {
		t.Errorf("got %v; reported bound: %v", err, reported)
	}
}

func TestDamagedListenerIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.claim = w.bound().Claim
	damaged := w.claim.Ports[0].ListenerARN
	w.post(url.Values{"Action": {"ModifyListener"}, "ListenerArn": {damaged}, "Port": {"30009"}})
	h := w.bound()
	listeners := w.emulator.Snapshot().Listeners
	if len(listeners) != 1 || listeners[0].Port != 30000 || listeners[0].ARN != h.Claim.Ports[0].ListenerARN || listeners[0].ARN == damaged {
		t.Errorf("listeners are %+v; the damaged one was %s", listeners, damaged)
	}
}

func TestForeignListenerMakesThePortUnusable(t *testing.T) {
	w := newWorld(t)
	theirs, err := w.aws.CreateTargetGroup(t.Context(), elb.TargetGroupSpec{
		Name: "theirs", Protocol: api.TCP, Port: 1, VPC: "vpc-local", HealthCheck: api.HealthCheck{Protocol: "TCP", Port: 80},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.aws.CreateListener(t.Context(), elb.ListenerSpec{
		LoadBalancerARN: w.claim.LoadBalancer.ARN, Port: 30000, Protocol: api.TCP, TargetGroupARN: theirs,
	}); err != nil {
		t.Fatal(err)
	}
	h := w.holding()
	err = w.bind(w.binder(), h)
	if !binder.PortUnusable(err) || len(h.Unbound()) != 1 {
		t.Errorf("got %v, unbound ports %v", err, h.Unbound())
	}
}

func TestThrottledCallsAreCountedUntilReported(t *testing.T) {
	w := newWorld(t)
	w.throttle("CreateListener", 2)
	b, h := w.binder(), w.holding()
	for range 2 {
		if err := w.bind(b, h); !errors.Is(err, elb.ErrThrottled) {
			t.Fatal(err)
		}
	}
	if err := w.bind(b, h); err != nil || b.Throttled() != 2 {
		t.Errorf("got %v and %d throttled calls, want 2", err, b.Throttled())
	}
	if b.ThrottledReported(2); b.Throttled() != 0 {
		t.Errorf("%d calls are left to report", b.Throttled())
	}
}

func TestDescribeTargetsSeesOnlyThePodsOwnTarget(t *testing.T) {
	w := newWorld(t)
	h := w.bound()
	port := h.Claim.Ports[0]
	if err := w.aws.DeregisterTargets(t.Context(), port.TargetGroupARN, []elb.Target{{IP: podIP, Port: 7777}}); err != nil {
		t.Fatal(err)
	}
	if err := w.aws.RegisterTarget(t.Context(), port.TargetGroupARN, "127.30.0.99", 7777); err != nil {
		t.Fatal(err)
	}
	if err := w.binder().DescribeTargets(t.Context(), h, h.Claim.Ports); err != nil {
		t.Fatal(err)
	}
	if b := h.Binding(port); b.Healthy || !strings.HasPrefix(b.TargetState, "draining") {
		t.Errorf("beside a healthy target of another pod, this pod's is %q, healthy: %v", b.TargetState, b.Healthy)
	}
	if err := w.aws.RegisterTarget(t.Context(), port.TargetGroupARN, podIP, 7777); err != nil {
		t.Fatal(err)
	}
	if err := w.binder().DescribeTargets(t.Context(), h, h.Claim.Ports); err != nil || len(h.NotHealthy()) != 0 {
		t.Errorf("got %v; not healthy: %v", err, h.NotHealthy())
	}
}
