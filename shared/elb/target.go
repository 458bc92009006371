package elb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	v2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// TargetState is the health of a target
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html).
type TargetState string

// The states of a target.
const (
	TargetInitial           TargetState = "initial"
	TargetHealthy           TargetState = "healthy"
	TargetUnhealthy         TargetState = "unhealthy"
	TargetUnhealthyDraining TargetState = "unhealthy.draining"
	TargetDraining          TargetState = "draining"
	TargetUnused            TargetState = "unused"
	TargetUnavailable       TargetState = "unavailable"
)

// Target is one address in a target group.
type Target struct {
	IP   string
	Port int
	// State and Reason come from AWS; deregistering ignores them.
	State  TargetState
	Reason string
	// Override is the state of an administrative override, such as zonal_shift_active;
	// empty if there is none.
	Override string
}

// Healthy reports whether AWS sends traffic to the target.
func (t Target) Healthy() bool {
	return t.State == TargetHealthy && t.Reason == "" && t.Override == ""
}

// Health is what AWS says of the target, in one line: its state and reason, or the override
// that keeps traffic from it.
func (t Target) Health() string {
	switch {
	case t.Override != "":
		return "AdministrativeOverride: " + t.Override
	case t.Reason != "":
		return string(t.State) + ": " + t.Reason
	}
	return string(t.State)
}

// Draining reports whether the target was deregistered and only drains.
func (t Target) Draining() bool { return t.State == TargetDraining }

// RegisterTarget registers an address of the VPC in a target group. Registering it again
// changes nothing. It fails with ErrTargetGroupGone or ErrQuota, and with ErrRefused for
// an address outside the subnets of the VPC.
func (c *Client) RegisterTarget(ctx context.Context, targetGroupARN, ip string, port int) error {
	_, err := call(ctx, c, "registering target "+ip, "RegisterTargets",
		&v2.RegisterTargetsInput{
			TargetGroupArn: aws.String(targetGroupARN),
			Targets:        []types.TargetDescription{{Id: aws.String(ip), Port: number(port)}},
		}, c.api.RegisterTargets)
	return err
}

// DeregisterTargets deregisters targets. Absent targets and an empty list are success. It
// fails with ErrTargetGroupGone.
func (c *Client) DeregisterTargets(ctx context.Context, targetGroupARN string, targets []Target) error {
	if len(targets) == 0 {
		return nil
	}
	in := &v2.DeregisterTargetsInput{TargetGroupArn: aws.String(targetGroupARN)}
	for _, t := range targets {
		in.Targets = append(in.Targets, types.TargetDescription{Id: aws.String(t.IP), Port: number(t.Port)})
	}
	_, err := call(ctx, c, "deregistering targets of "+targetGroupARN, "DeregisterTargets", in, c.api.DeregisterTargets)
	return err
}

// Targets returns all targets of a target group, including draining ones. It fails with
// ErrTargetGroupGone.
func (c *Client) Targets(ctx context.Context, targetGroupARN string) ([]Target, error) {
	out, err := call(ctx, c, "reading the targets of "+targetGroupARN, "DescribeTargetHealth",
		&v2.DescribeTargetHealthInput{TargetGroupArn: aws.String(targetGroupARN)}, c.api.DescribeTargetHealth)
	if err != nil {
		return nil, err
	}
	var targets []Target
	for _, d := range out.TargetHealthDescriptions {
		if d.Target == nil {
			continue
		}
		t := Target{IP: aws.ToString(d.Target.Id), Port: int(aws.ToInt32(d.Target.Port))}
		if d.TargetHealth != nil {
			t.State, t.Reason = TargetState(d.TargetHealth.State), string(d.TargetHealth.Reason)
		}
		if o := d.AdministrativeOverride; o != nil && o.State != types.TargetAdministrativeOverrideStateEnumNoOverride && o.State != types.TargetAdministrativeOverrideStateEnumUnknown {
			t.Override = string(o.State)
		}
		targets = append(targets, t)
	}
	return targets, nil
}
