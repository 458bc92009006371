package binder_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/failure"
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
	err := w.binder().Bind(t.Context(), h, h.Claim.Ports[0])
	if !errors.Is(err, w.reports.refuse["targetGroup"]) || len(w.emulator.Snapshot().Listeners) != 0 {
		t.Errorf("got %v and listeners %+v", err, w.emulator.Snapshot().Listeners)
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
	err := w.binder().Bind(t.Context(), h, h.Claim.Ports[0])
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
	err = w.binder().Bind(t.Context(), h, h.Claim.Ports[0])
	if !binder.PortUnusable(err) || len(h.Unbound()) != 1 {
		t.Errorf("got %v, unbound ports %v", err, h.Unbound())
	}
}

func TestThrottledCallsAreCountedUntilReported(t *testing.T) {
	w := newWorld(t)
	w.throttle("CreateListener", 2)
	b, h := w.binder(), w.holding()
	for range 2 {
		if err := b.Bind(t.Context(), h, h.Claim.Ports[0]); !errors.Is(err, elb.ErrThrottled) {
			t.Fatal(err)
		}
	}
	if err := b.Bind(t.Context(), h, h.Claim.Ports[0]); err != nil || b.Throttled() != 2 {
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
