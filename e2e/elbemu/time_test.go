package elbemu_test

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

func TestNoGoroutineWithoutDataPlane(t *testing.T) {
	before := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		// synctest fails the test if the bubble leaves a goroutine behind. New and a call
		// must not start one.
		w := newWorld(t, elbemu.Config{Profile: elbemu.ProfileAWS})
		inside := runtime.NumGoroutine()
		w.targetGroup("g", types.ProtocolEnumTcp, 80)
		if n := runtime.NumGoroutine(); n > inside { // goroutines of earlier tests may still end
			t.Errorf("%d goroutines more after a call", n-inside)
		}
	})
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestBuckets(t *testing.T) {
	describe := func(w world) error {
		_, err := w.DescribeAccountLimits(w.t.Context(), &elb.DescribeAccountLimitsInput{})
		return err
	}
	deregister := func(w world) error {
		arn := "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/absent/0000000000000000"
		_, err := w.DeregisterTargets(w.t.Context(), &elb.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: targets("127.30.0.1", 1)})
		return err
	}
	remove := func(w world) error {
		arn := "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/net/absent/0000000000000000"
		_, err := w.DeleteLoadBalancer(w.t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &arn})
		return err
	}
	create := func(w world) error {
		_, err := w.CreateLoadBalancer(w.t.Context(), &elb.CreateLoadBalancerInput{
			Name: new("nlb"), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-local-a"},
		})
		return err
	}
	rows := []struct {
		name     string
		call     func(world) error
		capacity int
		wait     time.Duration // after this wait, so many calls pass again
		refill   int
	}{
		{"account and non-mutating", describe, 40, 2 * time.Second, 20},
		{"mutating", remove, 20, 3 * time.Second, 9},
		{"registration", deregister, 20, 3 * time.Second, 12},
		{"resource-intensive", create, 10, 10 * time.Second, 2},
	}
	passes := func(w world, call func(world) error) int {
		for n := 0; ; n++ {
			if codeOf(w.t, call(w)) == "Throttling" {
				return n
			}
			if n > 1000 {
				w.t.Fatal("never throttled")
			}
		}
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			clock := newClock()
			w := newWorld(t, elbemu.Config{Profile: elbemu.ProfileAWS, Now: clock.Now})
			if n := passes(w, row.call); n != row.capacity {
				t.Errorf("%d calls at once, want %d", n, row.capacity)
			}
			clock.advance(row.wait)
			if n := passes(w, row.call); n != row.refill {
				t.Errorf("%d calls after %v, want %d", n, row.wait, row.refill)
			}
			clock.advance(time.Hour)
			if n := passes(w, row.call); n != row.capacity {
				t.Errorf("%d calls after an hour, want no more than %d", n, row.capacity)
			}
		})
	}
	t.Run("account limits all kinds together", func(t *testing.T) {
		w := newWorld(t, elbemu.Config{Profile: elbemu.ProfileAWS, Now: newClock().Now})
		if n := passes(w, remove) + passes(w, deregister); n != 40 {
			t.Errorf("%d calls of two kinds at once, want 40", n)
		}
		wantCode(t, describe(w), "Throttling")
	})
}

func TestDraining(t *testing.T) {
	clock := newClock()
	w := newWorld(t, elbemu.Config{Now: clock.Now})
	group := w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumUdp, 30000)
	w.register(group, "127.30.0.5", 7777)
	w.deregister(group, "127.30.0.5", 7777)
	clock.advance(300*time.Second - 1)
	if got := w.health(group); !slices.Equal(got, []string{"draining Target.DeregistrationInProgress"}) {
		t.Fatal(got)
	}
	clock.advance(1)
	if got := w.health(group); len(got) != 0 {
		t.Fatal(got)
	}
	if got := w.health(group, targets("127.30.0.5", 7777)...); !slices.Equal(got, []string{"unused Target.NotRegistered"}) {
		t.Fatal(got)
	}
}

func TestRegisteringADrainingTargetBringsItBack(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	group := w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumUdp, 30000)
	w.register(group, "127.30.0.5", 7777)
	w.deregister(group, "127.30.0.5", 7777)
	w.register(group, "127.30.0.5", 7777)
	if got := w.health(group); !slices.Equal(got, []string{"healthy"}) {
		t.Fatal(got)
	}
}

func TestHealthByThreshold(t *testing.T) {
	clock := newClock()
	up := true
	w := newWorld(t, elbemu.Config{Now: clock.Now, Healthy: func(ip string, port int) bool {
		if ip != "127.30.0.5" || port != 9000 {
			t.Errorf("checked %s on %d", ip, port)
		}
		return up
	}})
	in := groupInput("g", types.ProtocolEnumUdp, 7777)
	in.HealthCheckPort, in.HealthCheckIntervalSeconds = new("9000"), new(int32(10))
	in.UnhealthyThresholdCount, in.HealthyThresholdCount = new(int32(3)), new(int32(2))
	out, err := w.CreateTargetGroup(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	group := *out.TargetGroups[0].TargetGroupArn
	w.register(group, "127.30.0.5", 7777)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumUdp, 30000)
	const healthy, unhealthy = "healthy", "unhealthy Target.FailedHealthChecks"
	steps := []struct {
		up   bool
		wait time.Duration
		want string
	}{
		{true, 0, healthy}, // one pass is enough
		{false, 20 * time.Second, healthy},
		{false, 10 * time.Second, unhealthy}, // three failures
		{true, 10 * time.Second, unhealthy},  // one pass
		{true, 10 * time.Second, healthy},    // two passes
		{false, time.Hour, unhealthy},        // no calls meanwhile
	}
	for i, step := range steps {
		up = step.up
		clock.advance(step.wait)
		if got := w.health(group); !slices.Equal(got, []string{step.want}) {
			t.Fatalf("step %d: %v, want %s", i, got, step.want)
		}
	}
}

func TestUnhealthyFromTheStart(t *testing.T) {
	clock := newClock()
	w := newWorld(t, elbemu.Config{Now: clock.Now, Healthy: func(string, int) bool { return false }})
	group := w.targetGroup("g", types.ProtocolEnumTcp, 7777)
	w.register(group, "127.30.0.5", 7777)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumTcp, 30000)
	if got := w.health(group); !slices.Equal(got, []string{"initial Elb.InitialHealthChecking"}) {
		t.Fatal(got)
	}
	clock.advance(30 * time.Second)
	if got := w.health(group); !slices.Equal(got, []string{"unhealthy Target.FailedHealthChecks"}) {
		t.Fatal(got)
	}
}

func TestSnapshotSharesNoMemory(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	group := w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	w.register(group, "127.30.0.5", 7777)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumUdp, 30000)
	s := w.e.Snapshot()
	s.TargetGroups[0].Targets[0].ID = "changed"
	s.TargetGroups[0].Tags["a"] = "b"
	s.TargetGroups[0].Attributes["a"] = "b"
	s.Listeners[0].Forwards[0].TargetGroupARN = "changed"
	s.Listeners[0].Tags["a"] = "b"
	s.LoadBalancers[0].Subnets[0].ID = "changed"
	s.LoadBalancers[0].Attributes["a"] = "b"
	again := w.e.Snapshot()
	g, l, lb := again.TargetGroups[0], again.Listeners[0], again.LoadBalancers[0]
	if g.Targets[0].ID != "127.30.0.5" || len(g.Tags)+len(l.Tags) != 0 || g.Attributes["a"]+lb.Attributes["a"] != "" ||
		l.Forwards[0].TargetGroupARN != group || lb.Subnets[0].ID != "subnet-local-a" || g.LoadBalancerARN != lb.ARN {
		t.Fatalf("changed: %+v", again)
	}
}

func TestSeededRunsAreEqual(t *testing.T) {
	run := func() elbemu.Snapshot {
		w := newWorld(t, elbemu.Config{Now: newClock().Now, Rand: newSource(7)})
		w.listener(w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumUdp, 7777), types.ProtocolEnumUdp, 30000)
		return w.e.Snapshot()
	}
	one, two := run(), run()
	if one.Listeners[0].ARN != two.Listeners[0].ARN || one.TargetGroups[0].ARN != two.TargetGroups[0].ARN {
		t.Fatalf("%v\n%v", one, two)
	}
}
