package elbemu_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

// lag has four different delays.
var lag = elbemu.Delays{
	ListenerUp: 30 * time.Second, ListenerDown: 40 * time.Second,
	TargetIn: 10 * time.Second, TargetOut: 80 * time.Second,
}

// lagging is an account whose data plane is behind, with one load balancer and one target
// group.
type lagging struct {
	world
	clock     *clock
	lb, group string
}

func newLagging(t *testing.T, delays elbemu.Delays) lagging {
	clock := newClock()
	w := newWorld(t, elbemu.Config{Now: clock.Now, Delays: &delays})
	return lagging{w, clock, w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumUdp, 7777)}
}

// routed returns the routes as text: each port with the last parts of its targets'
// addresses.
func (w lagging) routed() string {
	var all []string
	for _, r := range w.e.Routes() {
		var hosts []string
		for _, at := range r.Targets {
			hosts = append(hosts, strings.TrimPrefix(at.Addr().String(), "127.30.0."))
		}
		all = append(all, fmt.Sprintf("%d>%s", r.Port, strings.Join(hosts, ",")))
	}
	return strings.Join(all, " ")
}

// holds expects the routes now and until just before the time has passed.
func (w lagging) holds(d time.Duration, want string) {
	w.t.Helper()
	w.now(want)
	w.clock.advance(d - 1)
	w.now(want)
	w.clock.advance(1)
}

func (w lagging) now(want string) {
	w.t.Helper()
	if got := w.routed(); got != want {
		w.t.Fatalf("routes %q, want %q", got, want)
	}
}

func (w lagging) udp(group string) string {
	return w.listener(w.lb, group, types.ProtocolEnumUdp, 30000)
}

func TestNewListenerGetsTrafficOnlyAfterItsDelay(t *testing.T) {
	w := newLagging(t, lag)
	w.register(w.group, "127.30.0.1", 7777)
	w.udp(w.group)
	w.holds(lag.ListenerUp, "")
	w.now("30000>1")
}

func TestDeletedListenerGetsTrafficUntilItsDelayEnds(t *testing.T) {
	w := newLagging(t, lag)
	w.register(w.group, "127.30.0.1", 7777)
	listener := w.udp(w.group)
	w.clock.advance(time.Hour)
	w.deleteListener(listener)
	if _, err := w.DescribeListeners(t.Context(), &elb.DescribeListenersInput{ListenerArns: []string{listener}}); codeOf(t, err) != "ListenerNotFound" {
		t.Fatal("the API is not behind:", err)
	}
	w.deregister(w.group, "127.30.0.1", 7777)
	if _, err := w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &w.group}); err != nil {
		t.Fatal(err)
	}
	w.holds(lag.ListenerDown, "30000>1")
	w.now("")
}

func TestListenerDeletedBeforeItIsUpNeverGetsTraffic(t *testing.T) {
	w := newLagging(t, lag)
	w.register(w.group, "127.30.0.1", 7777)
	listener := w.udp(w.group)
	w.clock.advance(lag.ListenerUp - 1)
	w.deleteListener(listener)
	w.holds(time.Minute, "")
}

func TestNewTargetGetsTrafficOnlyAfterItsDelay(t *testing.T) {
	t.Run("registered with a group in use", func(t *testing.T) {
		w := newLagging(t, lag)
		w.udp(w.group)
		w.clock.advance(time.Hour)
		w.register(w.group, "127.30.0.1", 7777)
		if got := w.health(w.group); !slices.Equal(got, []string{"healthy"}) {
			t.Fatal("the API is not behind:", got)
		}
		w.holds(lag.TargetIn, "30000>")
		w.now("30000>1")
	})
	t.Run("registered before its group is in use", func(t *testing.T) {
		late := lag
		late.TargetIn = lag.ListenerUp + time.Minute
		w := newLagging(t, late)
		w.register(w.group, "127.30.0.1", 7777)
		w.clock.advance(time.Hour)
		w.udp(w.group)
		w.clock.advance(late.ListenerUp)
		w.holds(time.Minute, "30000>")
		w.now("30000>1")
	})
	t.Run("deregistered before it gets traffic", func(t *testing.T) {
		w := newLagging(t, lag)
		w.udp(w.group)
		w.clock.advance(time.Hour)
		w.register(w.group, "127.30.0.1", 7777)
		w.clock.advance(lag.TargetIn - 1)
		w.deregister(w.group, "127.30.0.1", 7777)
		w.holds(time.Minute, "30000>")
	})
}

func TestDeregisteredTargetGetsTrafficUntilItsDelayEnds(t *testing.T) {
	settled := func(t *testing.T) lagging {
		w := newLagging(t, lag)
		w.register(w.group, "127.30.0.1", 7777)
		w.udp(w.group)
		w.clock.advance(time.Hour)
		return w
	}
	t.Run("deregistered", func(t *testing.T) {
		w := settled(t)
		w.setGroupAttributes(w.group, "deregistration_delay.timeout_seconds", "0")
		w.deregister(w.group, "127.30.0.1", 7777)
		if got := w.health(w.group); len(got) != 0 {
			t.Fatal("the API is not behind:", got)
		}
		w.holds(lag.TargetOut, "30000>1")
		w.now("30000>")
	})
	t.Run("replaced", func(t *testing.T) {
		w := settled(t)
		w.deregister(w.group, "127.30.0.1", 7777)
		w.register(w.group, "127.30.0.2", 7777)
		w.holds(lag.TargetIn, "30000>1")
		w.holds(lag.TargetOut-lag.TargetIn, "30000>1,2")
		w.now("30000>2")
	})
	t.Run("registered again before the delay ends", func(t *testing.T) {
		w := settled(t)
		w.deregister(w.group, "127.30.0.1", 7777)
		w.register(w.group, "127.30.0.1", 7777)
		w.holds(time.Hour, "30000>1")
	})
}

// The data plane has one listener on a port: the old one until its delay is over or the
// new one is up.
func TestRecreatedListenerReplacesTheOldOne(t *testing.T) {
	replaced := func(t *testing.T, delays elbemu.Delays) lagging {
		w := newLagging(t, delays)
		other := w.targetGroup("h", types.ProtocolEnumUdp, 7777)
		w.register(w.group, "127.30.0.1", 7777)
		w.register(other, "127.30.0.2", 7777)
		old := w.udp(w.group)
		w.clock.advance(time.Hour)
		w.deleteListener(old)
		w.udp(other)
		return w
	}
	t.Run("is up before the old one is down", func(t *testing.T) {
		w := replaced(t, lag)
		w.holds(lag.ListenerUp, "30000>1")
		w.holds(time.Hour, "30000>2")
	})
	t.Run("is up after the old one is down", func(t *testing.T) {
		slow := lag
		slow.ListenerUp = lag.ListenerDown + time.Minute
		w := replaced(t, slow)
		w.holds(slow.ListenerDown, "30000>1")
		w.holds(time.Minute, "")
		w.now("30000>2")
	})
	t.Run("deleted too", func(t *testing.T) {
		w := replaced(t, lag)
		w.clock.advance(lag.ListenerUp)
		w.deleteListener(w.e.Snapshot().Listeners[0].ARN)
		w.holds(lag.ListenerDown, "30000>2")
		w.now("")
	})
	t.Run("to the same group", func(t *testing.T) {
		w := newLagging(t, lag)
		w.register(w.group, "127.30.0.1", 7777)
		old := w.udp(w.group)
		w.clock.advance(time.Hour)
		w.deleteListener(old)
		w.udp(w.group)
		w.holds(time.Hour, "30000>1")
	})
	t.Run("to the same group much later", func(t *testing.T) {
		late := lag
		late.TargetIn = lag.ListenerUp + time.Minute
		w := newLagging(t, late)
		w.register(w.group, "127.30.0.1", 7777)
		old := w.udp(w.group)
		w.clock.advance(time.Hour)
		w.deregister(w.group, "127.30.0.1", 7777)
		w.register(w.group, "127.30.0.1", 7777)
		w.deleteListener(old)
		w.clock.advance(late.ListenerDown)
		w.udp(w.group)
		w.clock.advance(late.ListenerUp)
		w.holds(time.Minute, "30000>")
		w.now("30000>1")
	})
}

func TestDeletingALoadBalancerRemovesItsRoutes(t *testing.T) {
	w := newLagging(t, lag)
	w.register(w.group, "127.30.0.1", 7777)
	w.udp(w.group)
	w.clock.advance(time.Hour)
	w.now("30000>1")
	if _, err := w.DeleteLoadBalancer(t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &w.lb}); err != nil {
		t.Fatal(err)
	}
	w.now("")
}

func TestRoutesChangeAtOnceWithoutDelays(t *testing.T) {
	w := newLagging(t, elbemu.Delays{})
	w.register(w.group, "127.30.0.1", 7777)
	listener := w.udp(w.group)
	w.now("30000>1")
	w.deregister(w.group, "127.30.0.1", 7777)
	w.now("30000>")
	w.deleteListener(listener)
	w.now("")
}
