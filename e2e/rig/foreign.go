package rig

import (
	"context"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/invariants"
	"github.com/portlease/portlease/shared/elb"
)

// ForeignPort is the port of the foreign listener on the first load balancer. It is
// outside the pool's default range.
const ForeignPort = 443

// makeForeign creates a foreign target group and listener on the pool's first load
// balancer. It also creates a target group that is named like ours but carries
// another ledger's tags.
func (r *Rig) makeForeign(ctx context.Context) error {
	if !r.Alone {
		if err := r.ForeignListener(ctx, ForeignPort); err != nil {
			return err
		}
	}
	tags := elb.Tags{Ledger: "another-cluster/portlease", Namespace: "games", Pod: "game-0", PodUID: "u", Lease: "l-1", Epoch: "e", Generation: 1}
	if _, err := elb.New(r.AWS(), nil).CreateTargetGroup(ctx, elb.TargetGroupSpec{
		Name: elb.TargetGroupName(tags.Ledger, tags.Fence()), Protocol: "TCP", Port: 7777, VPC: "vpc-rig",
		HealthCheck: elb.HealthCheck{Protocol: "TCP"}, Tags: tags,
	}); err != nil {
		return fmt.Errorf("making another ledger's target group: %w", err)
	}
	r.foreign = r.foreignNow()
	return nil
}

// ForeignListener creates a foreign listener on the pool's first load balancer. From
// then on Check expects the listener to stay unchanged.
func (r *Rig) ForeignListener(ctx context.Context, port int) error {
	_, err := r.ForeignListenerOn(ctx, 0, port)
	return err
}

// ListenerOfAnotherLedger is ForeignListener for another installation, whose tags
// differ from ours only in the ledger's id.
func (r *Rig) ListenerOfAnotherLedger(ctx context.Context, port int) error {
	var tags []types.Tag
	for key, value := range (elb.Tags{
		Ledger: "another-cluster/portlease", Namespace: r.Games, Pod: "game-0", PodUID: "u",
		Lease: ledger.PortName(ledger.LoadBalancerID(r.LoadBalancerARNs[0]), port), Epoch: "e", Generation: 1,
	}).Map() {
		tags = append(tags, types.Tag{Key: &key, Value: &value})
	}
	_, err := r.ForeignListenerOn(ctx, 0, port, tags...)
	return err
}

// ForeignListenerOn is ForeignListener on any load balancer of the pool. remove
// deletes the listener again.
func (r *Rig) ForeignListenerOn(ctx context.Context, loadBalancer, port int, tags ...types.Tag) (remove func(context.Context) error, err error) {
	client := r.ELB()
	name := fmt.Sprintf("somebody-else-%d", port)
	if loadBalancer > 0 {
		name = fmt.Sprintf("somebody-else-%d-%d", loadBalancer, port)
	}
	group, err := client.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: &name, Protocol: types.ProtocolEnumTcp, Port: aws.Int32(443),
		VpcId: aws.String("vpc-rig"), TargetType: types.TargetTypeEnumIp, Tags: tags,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the foreign target group: %w", err)
	}
	listener, err := client.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &r.LoadBalancerARNs[loadBalancer], Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumTcp, Tags: tags,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	})
	if err != nil {
		return nil, fmt.Errorf("creating the foreign listener: %w", err)
	}
	r.foreign = r.foreignNow()
	return func(ctx context.Context) error {
		if _, err := client.DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: listener.Listeners[0].ListenerArn}); err != nil {
			return fmt.Errorf("removing the foreign listener: %w", err)
		}
		if _, err := client.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: group.TargetGroups[0].TargetGroupArn}); err != nil {
			return fmt.Errorf("removing the foreign target group: %w", err)
		}
		r.foreign = r.foreignNow()
		return nil
	}, nil
}

// RemoveForeignListener deletes the listener that ForeignListener created.
func (r *Rig) RemoveForeignListener(ctx context.Context, port int) error {
	for _, l := range r.foreignNow().Listeners {
		if l.LoadBalancerARN == r.LoadBalancerARNs[0] && l.Port == port {
			if _, err := r.ELB().DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: &l.ARN}); err != nil {
				return fmt.Errorf("deleting the foreign listener: %w", err)
			}
		}
	}
	r.ForgetForeign()
	return nil
}

// ForgetForeign makes the present foreign resources the ones that must stay, after a
// test has changed them.
func (r *Rig) ForgetForeign() { r.foreign = r.foreignNow() }

// foreignNow gives the foreign resources that are in the account now.
func (r *Rig) foreignNow() invariants.Foreign {
	return invariants.ForeignIn(r.Emulator.Snapshot(), r.Ledger)
}

// checkForeign checks S3: the foreign resources are unchanged.
func (r *Rig) checkForeign() error {
	if now := r.foreignNow(); !reflect.DeepEqual(now, r.foreign) {
		return invariants.Violated("S3", "foreign things have changed: they were %+v and are %+v", r.foreign, now)
	}
	return nil
}
