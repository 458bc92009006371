package elb_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

func TestLoadBalancersLeavesOutThoseThatAreGone(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	var arns []string
	for n := range 23 {
		arns = append(arns, a.loadBalancer(fmt.Sprintf("games-%d", n)))
	}
	a.post(url.Values{
		"Action": {"ModifyLoadBalancerAttributes"}, "LoadBalancerArn": {arns[2]},
		"Attributes.member.1.Key": {"load_balancing.cross_zone.enabled"}, "Attributes.member.1.Value": {"true"},
	})
	for _, n := range []int{0, 22} {
		a.post(url.Values{"Action": {"DeleteLoadBalancer"}, "LoadBalancerArn": {arns[n]}})
	}
	found := must[[]elb.LoadBalancer](t)(a.LoadBalancers(t.Context(), arns...))
	byARN := make(map[string]elb.LoadBalancer)
	for _, b := range found {
		byARN[b.ARN] = b
		if b.Type != elb.TypeNetwork || b.State != elb.StateActive || b.VPC != "vpc-local" || b.Host == "" {
			t.Errorf("load balancer is %+v", b)
		}
		if on, err := a.CrossZone(t.Context(), b.ARN); err != nil || on != (b.ARN == arns[2]) {
			t.Errorf("cross-zone of %s is %v, %v", b.Name, on, err)
		}
	}
	for n, arn := range arns {
		if _, ok := byARN[arn]; ok == slices.Contains([]int{0, 22}, n) {
			t.Errorf("load balancer %d is in the answer: %v", n, ok)
		}
	}
}

func TestAddressesAreTheElasticIPs(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	a.post(url.Values{
		"Action": {"CreateLoadBalancer"}, "Name": {"fixed"}, "Type": {"network"},
		"SubnetMappings.member.1.SubnetId": {"subnet-local-b"}, "SubnetMappings.member.1.AllocationId": {"eipalloc-local-a"},
		"SubnetMappings.member.2.SubnetId": {"subnet-local-a"}, "SubnetMappings.member.2.AllocationId": {"eipalloc-local-b"},
	})
	a.loadBalancer("changing")
	want := map[string][]string{"fixed": {"198.51.100.2", "198.51.100.1"}, "changing": nil}
	for _, b := range must[[]elb.LoadBalancer](t)(a.LoadBalancers(t.Context(), must[[]string](t)(a.NetworkLoadBalancers(t.Context()))...)) {
		if !slices.Equal(b.Addresses, want[b.Name]) {
			t.Errorf("%s has the addresses %v, want %v", b.Name, b.Addresses, want[b.Name])
		}
		delete(want, b.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestLimitsAreThoseOfTheAccount(t *testing.T) {
	a := newAccount(t, elbemu.Config{Quotas: elbemu.Quotas{Listeners: 17, TargetGroups: 19, TargetsPerLoadBalancer: 23}})
	if n := must[elb.Limits](t)(a.Limits(t.Context())).Listeners; n != 17 {
		t.Errorf("limit is %d", n)
	}
	if l := must[elb.Limits](t)(a.Limits(t.Context())); l.TargetGroups != 19 || l.Targets != 23 {
		t.Errorf("limits are %+v", l)
	}
}

func TestLimitsNeedsOnlyTheListenerLimit(t *testing.T) {
	limits := func(body string) (elb.Limits, error) {
		return clientOver(&answers{status: 200, body: result("DescribeAccountLimits", "<Limits>"+body+"</Limits>")}).Limits(t.Context())
	}
	const listeners = "<member><Name>listeners-per-network-load-balancer</Name><Max>50</Max></member>"
	if l, err := limits(listeners); err != nil || l != (elb.Limits{Listeners: 50}) {
		t.Errorf("limits are %+v, %v", l, err)
	}
	for body, says := range map[string]string{
		"": "did not return the limit listeners-per-network-load-balancer",
		listeners + "<member><Name>target-groups</Name><Max>many</Max></member>": `target-groups is "many"`,
	} {
		if _, err := limits(body); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

func TestRepeatedMarkerIsAnError(t *testing.T) {
	same := &answers{status: 200, body: result("DescribeTargetGroups", "<TargetGroups></TargetGroups><NextMarker>m</NextMarker>")}
	_, err := clientOver(same).TargetGroups(t.Context())
	if err == nil || !strings.Contains(err.Error(), "repeated the marker") {
		t.Errorf("got %v", err)
	}
	if same.count != 2 {
		t.Errorf("%d calls were sent, want 2", same.count)
	}
}

func TestForeignListenerIsRead(t *testing.T) {
	weighted := &answers{status: 200, body: result("DescribeListeners", `<Listeners><member>
		<ListenerArn>l</ListenerArn><LoadBalancerArn>lb</LoadBalancerArn><Port>443</Port><Protocol>TLS</Protocol>
		<DefaultActions><member><Type>forward</Type><ForwardConfig><TargetGroups>
			<member><TargetGroupArn>one</TargetGroupArn></member><member><TargetGroupArn>two</TargetGroupArn></member>
		</TargetGroups></ForwardConfig></member></DefaultActions></member></Listeners>`)}
	listeners := must[[]elb.Listener](t)(clientOver(weighted).Listeners(t.Context(), "lb"))
	if len(listeners) != 1 || listeners[0].Protocol != "TLS" || !slices.Equal(listeners[0].TargetGroupARNs, []string{"one", "two"}) {
		t.Errorf("listeners are %+v", listeners)
	}
}
