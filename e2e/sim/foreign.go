package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// makeForeign makes what is foreign from the start: a listener outside of the pool's
// ports and a target group of another ledger.
func (w *World) makeForeign() error {
	tags := elb.Tags{Ledger: "another-cluster/portlease", Namespace: namespace, Pod: "game-0", PodUID: "u1", Lease: "l-1", Epoch: "e", Generation: 1}
	if _, err := elb.New(configuration(w.cloud.emulator), nil).CreateTargetGroup(context.Background(), elb.TargetGroupSpec{
		Name: elb.TargetGroupName(tags.Ledger, tags.Fence()), Protocol: "TCP", Port: 7777, VPC: "vpc-local",
		HealthCheck: elb.HealthCheck{Protocol: "TCP"}, Tags: tags,
	}); err != nil {
		return fmt.Errorf("making another ledger's target group: %w", err)
	}
	return w.listenAsForeigner(443)
}

// foreignListener creates a foreign listener on a free listener port of the pool and
// deletes it later.
func (w *World) foreignListener() {
	port := w.file.first + w.cause.IntN(w.file.ports)
	s := w.cloud.emulator.Snapshot()
	if !exists(s, w.file.all[0]) || slices.ContainsFunc(s.Listeners, func(l elbemu.Listener) bool { return l.LoadBalancerARN == w.file.all[0] && l.Port == port }) {
		return
	}
	w.trace.add("-- somebody else listens on port %d", port)
	if err := w.listenAsForeigner(port); err != nil {
		w.violate(err)
	}
	w.after(w.cause.span(200*time.Second), func() {
		w.trace.add("-- somebody else leaves port %d", port)
		for _, l := range w.judge.foreignListeners() {
			if l.Port == port && l.LoadBalancerARN == w.file.all[0] {
				if _, err := w.cloud.operator().DeleteListener(context.Background(), &elbv2.DeleteListenerInput{ListenerArn: &l.ARN}); err != nil {
					w.violate(err)
				}
			}
		}
		w.judge.noteForeign()
	})
}

func (w *World) listenAsForeigner(port int) error {
	ctx, client := context.Background(), w.cloud.operator()
	w.foreigners++
	group, err := client.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: aws.String(fmt.Sprintf("somebody-else-%d", w.foreigners)), Protocol: types.ProtocolEnumTcp, Port: aws.Int32(443),
		VpcId: aws.String("vpc-local"), TargetType: types.TargetTypeEnumIp,
	})
	if err != nil {
		return fmt.Errorf("making somebody else's target group: %w", err)
	}
	if _, err := client.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.file.all[0], Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumTcp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	}); err != nil {
		return fmt.Errorf("making somebody else's listener: %w", err)
	}
	w.judge.noteForeign()
	return nil
}
