package elbemu_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

const patience = 5 * time.Second

var lastPod atomic.Int32

func (w world) dnsName(lb string) string {
	w.t.Helper()
	out, err := w.DescribeLoadBalancers(w.t.Context(), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{lb}})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.LoadBalancers[0].DNSName
}

func (w world) setGroupAttributes(group string, pairs ...string) {
	w.t.Helper()
	in := &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &group}
	for pair := range slices.Chunk(pairs, 2) {
		in.Attributes = append(in.Attributes, types.TargetGroupAttribute{Key: &pair[0], Value: &pair[1]})
	}
	if _, err := w.ModifyTargetGroupAttributes(w.t.Context(), in); err != nil {
		w.t.Fatal(err)
	}
}

func TestTrafficReachesThePod(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	w := newWorld(t, elbemu.Config{DataPlane: true})
	p := newPod(t, "pod")
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcpUdp, p.port)
	w.register(group, p.ip, p.port)
	listener := w.listener(lb, group, types.ProtocolEnumTcpUdp, 30000)
	host := w.dnsName(lb)
	if address, ok := w.e.Address(lb); !ok || address.String() != host || !netip.MustParsePrefix("127.20.0.0/16").Contains(address) {
		t.Fatalf("address %v, DNS name %s", address, host)
	}
	for _, network := range []string{"tcp", "udp"} {
		if got := reached(t, network, host); got != "pod" {
			t.Fatalf("%s: %q", network, got)
		}
	}
	eventually(t, "healthy", func() bool { return slices.Equal(w.health(group), []string{"healthy"}) })

	c := connect(t, "tcp", host)
	if got, err := receive(c); err != nil || got != "pod" {
		t.Fatal(got, err)
	}
	w.deleteListener(listener)
	if _, err := net.Dial("tcp", host+":30000"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a new connection: %v", err)
	}
	send(t, c, "lives")
	if got, err := receive(c); err != nil || got != "lives" {
		t.Fatalf("the established connection: %q, %v", got, err)
	}
}

func TestDeregisteredTargetKeepsItsFlows(t *testing.T) {
	clock := newClock()
	w := newWorld(t, elbemu.Config{DataPlane: true, Now: clock.Now})
	a, b := newPod(t, "a"), newPod(t, "b")
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcp, 1)
	w.setGroupAttributes(group, "deregistration_delay.connection_termination.enabled", "true")
	w.register(group, a.ip, a.port)
	w.listener(lb, group, types.ProtocolEnumTcp, 30000)
	host := w.dnsName(lb)
	c := connect(t, "tcp", host)
	if got, err := receive(c); err != nil || got != "a" {
		t.Fatal(got, err)
	}
	w.register(group, b.ip, b.port)
	w.deregister(group, a.ip, a.port)
	for range 4 {
		if got := reached(t, "tcp", host); got != "b" {
			t.Fatalf("a new flow went to %q", got)
		}
	}
	send(t, c, "goes on")
	if got, err := receive(c); err != nil || got != "goes on" {
		t.Fatal(got, err)
	}
	clock.advance(300 * time.Second)
	if _, err := receive(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("after draining: %v", err)
	}
}

func TestDeletingTheLoadBalancerEndsItsFlows(t *testing.T) {
	w := newWorld(t, elbemu.Config{DataPlane: true})
	p := newPod(t, "pod")
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcp, p.port)
	w.register(group, p.ip, p.port)
	w.listener(lb, group, types.ProtocolEnumTcp, 30000)
	c := connect(t, "tcp", w.dnsName(lb))
	if got, err := receive(c); err != nil || got != "pod" {
		t.Fatal(got, err)
	}
	if _, err := w.DeleteLoadBalancer(t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &lb}); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

// A load balancer sends traffic to healthy targets only, unless there is none.
func TestLoadBalancerFailsOpen(t *testing.T) {
	var down atomic.Value
	down.Store("")
	clock := newClock()
	w := newWorld(t, elbemu.Config{DataPlane: true, Now: clock.Now, Healthy: func(ip string, _ int) bool {
		return !strings.Contains(down.Load().(string), ip+" ")
	}})
	a, b := newPod(t, "a"), newPod(t, "b")
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcp, 1)
	w.register(group, a.ip, a.port)
	w.register(group, b.ip, b.port)
	w.listener(lb, group, types.ProtocolEnumTcp, 30000)
	host := w.dnsName(lb)
	if got := names(t, host); got != "ab" {
		t.Fatal(got)
	}
	down.Store(a.ip + " ")
	clock.advance(time.Minute)
	eventually(t, "a gets no flows", func() bool { return names(t, host) == "b" })
	down.Store(a.ip + " " + b.ip + " ")
	clock.advance(time.Minute)
	eventually(t, "both get flows", func() bool { return names(t, host) == "ab" })
}

func TestUnhealthyTargetLosesItsConnections(t *testing.T) {
	var down atomic.Bool
	clock := newClock()
	a, b := newPod(t, "a"), newPod(t, "b")
	w := newWorld(t, elbemu.Config{DataPlane: true, Now: clock.Now, Healthy: func(ip string, _ int) bool {
		return ip != a.ip || !down.Load()
	}})
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcp, 1)
	w.register(group, a.ip, a.port)
	w.listener(lb, group, types.ProtocolEnumTcp, 30000)
	c := connect(t, "tcp", w.dnsName(lb))
	if got, err := receive(c); err != nil || got != "a" {
		t.Fatal(got, err)
	}
	w.register(group, b.ip, b.port)
	down.Store(true)
	clock.advance(time.Minute)
	if _, err := receive(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
}

func TestRealHealthChecks(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusOK)
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	clock := newClock()
	w := newWorld(t, elbemu.Config{
		DataPlane: true, Now: clock.Now,
		VPCs:    []elbemu.VPC{{ID: "vpc-local", CIDR: netip.MustParsePrefix("127.0.0.0/8")}},
		Subnets: []elbemu.Subnet{{ID: "subnet-local-a", CIDR: netip.MustParsePrefix("127.0.0.0/9"), Zone: "a"}, {ID: "subnet-local-b", CIDR: netip.MustParsePrefix("127.128.0.0/9"), Zone: "b"}},
	})
	in := groupInput("g", types.ProtocolEnumUdp, 7777)
	in.HealthCheckProtocol, in.HealthCheckPort, in.HealthCheckPath = types.ProtocolEnumHttp, &port, new("/ready")
	in.Matcher, in.HealthyThresholdCount = &types.Matcher{HttpCode: new("200,204-299")}, new(int32(2))
	out, err := w.CreateTargetGroup(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	group := *out.TargetGroups[0].TargetGroupArn
	w.register(group, "127.0.0.1", 7777)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumUdp, 30000)
	check := func(answer int32, want string) {
		t.Helper()
		status.Store(answer)
		eventually(t, want, func() bool { return slices.Equal(w.health(group), []string{want}) })
	}
	nextCheck := func() {
		clock.advance(30 * time.Second)
		select {
		case path := <-asked:
			if path != "/ready" {
				t.Fatal(path)
			}
		case <-time.After(patience):
			t.Fatal("no check was made")
		}
	}
	check(http.StatusOK, "healthy")
	<-asked
	status.Store(http.StatusAccepted) // 202 is outside the matcher
	nextCheck()
	nextCheck()
	check(http.StatusAccepted, "unhealthy Target.FailedHealthChecks")
	status.Store(http.StatusNoContent)
	nextCheck()
	nextCheck()
	check(http.StatusNoContent, "healthy")
}

func TestUnreachableTargetBecomesUnhealthy(t *testing.T) {
	clock := newClock()
	w := newWorld(t, elbemu.Config{DataPlane: true, Now: clock.Now})
	group := w.targetGroup("g", types.ProtocolEnumTcp, 1) // nothing listens on port 1
	w.register(group, "127.30.0.9", 1)
	w.listener(w.loadBalancer("nlb"), group, types.ProtocolEnumTcp, 30000)
	eventually(t, "unhealthy", func() bool {
		clock.advance(30 * time.Second)
		return slices.Equal(w.health(group), []string{"unhealthy Target.FailedHealthChecks"})
	})
}

func TestPropagationDelays(t *testing.T) {
	clock := newClock()
	w := newWorld(t, elbemu.Config{DataPlane: true, Now: clock.Now, Delays: &elbemu.Delays{
		ListenerUp: 30 * time.Second, ListenerDown: 40 * time.Second, TargetOut: 80 * time.Second,
	}})
	p, q := newPod(t, "p"), newPod(t, "q")
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumTcp, 1)
	w.register(group, p.ip, p.port)
	listener := w.listener(lb, group, types.ProtocolEnumTcp, 30000)
	host := w.dnsName(lb)
	if _, err := net.Dial("tcp", host+":30000"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("before the listener is up: %v", err)
	}
	clock.advance(30 * time.Second)
	eventually(t, "the listener is up", func() bool {
		c, err := net.Dial("tcp", host+":30000")
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	w.deregister(group, p.ip, p.port)
	if got := reached(t, "tcp", host); got != "p" {
		t.Fatalf("a new flow soon after deregistration went to %q", got)
	}
	w.register(group, q.ip, q.port)
	clock.advance(80 * time.Second)
	eventually(t, "new flows go elsewhere", func() bool {
		return names(t, host) == "q"
	})
	w.deleteListener(listener)
	other := w.targetGroup("h", types.ProtocolEnumTcp, 1)
	w.register(other, p.ip, p.port)
	w.listener(lb, other, types.ProtocolEnumTcp, 30000)
	if got := reached(t, "tcp", host); got != "q" {
		t.Fatalf("a new flow to the listener just deleted went to %q", got)
	}
	clock.advance(30 * time.Second)
	eventually(t, "new flows go to the new listener", func() bool {
		return names(t, host) == "p"
	})
}
