package elbemu_test

import (
	"slices"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

func TestBindingLifecycle(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	lb := w.loadBalancer("nlb-1")
	group := w.targetGroup("pod-1", types.ProtocolEnumUdp, 7777)
	w.register(group, "127.30.0.5", 7777)
	if got := w.health(group); !slices.Equal(got, []string{"unused Target.NotInUse"}) {
		t.Fatal(got)
	}
	listener := w.listener(lb, group, types.ProtocolEnumUdp, 30000)
	if got := w.health(group); !slices.Equal(got, []string{"healthy"}) {
		t.Fatal(got)
	}
	_, err := w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &group})
	wantCode(t, err, "ResourceInUse")
	w.deregister(group, "127.30.0.5", 7777)
	if got := w.health(group); !slices.Equal(got, []string{"draining Target.DeregistrationInProgress"}) {
		t.Fatal(got)
	}
	w.deleteListener(listener)
	if _, err := w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &group}); err != nil {
		t.Fatal(err)
	}
	if s := w.e.Snapshot(); len(s.LoadBalancers) != 1 || len(s.Listeners)+len(s.TargetGroups) != 0 {
		t.Fatalf("left over: %+v", s)
	}
}
