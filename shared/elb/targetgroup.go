package elb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	v2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/shared/api"
)

// HealthCheck is how the load balancer looks whether a target is healthy. Port 0
// means the target port itself; a zero interval, timeout or threshold means a
// default.
type HealthCheck = api.HealthCheck

// TargetGroupSpec is everything a target group is created with. Creating is
// idempotent on exactly these settings.
type TargetGroupSpec struct {
	Name        string
	Protocol    api.Protocol
	Port        int
	VPC         string
	HealthCheck HealthCheck
	Tags        Tags
}

// TargetGroup is one target group as AWS knows it.
type TargetGroup struct {
	ARN  string
	Name string
	// LoadBalancerARNs are those with a listener that forwards to it; at most one.
	LoadBalancerARNs []string
}

// Timeouts of a health check in seconds where none is given: half the interval, so
// that checks never overlap, within what AWS takes and not above its default for
// TCP.
const (
	minCheckTimeout = 2
	maxCheckTimeout = 10
)

// CreateTargetGroup makes a target group for pod addresses. When one of that
// name and these settings exists, its ARN is given instead, so success does not
// prove who made it: look at its tags. ErrDifferent, ErrQuota.
func (c *Client) CreateTargetGroup(ctx context.Context, spec TargetGroupSpec) (arn string, err error) {
	check := spec.HealthCheck
	in := &v2.CreateTargetGroupInput{
		Name:                       aws.String(spec.Name),
		Protocol:                   types.ProtocolEnum(spec.Protocol),
		Port:                       number(spec.Port),
		VpcId:                      aws.String(spec.VPC),
		TargetType:                 types.TargetTypeEnumIp,
		HealthCheckEnabled:         aws.Bool(true),
		HealthCheckProtocol:        types.ProtocolEnum(check.Protocol),
		HealthCheckPort:            aws.String("traffic-port"),
		HealthCheckIntervalSeconds: positive(check.IntervalSeconds),
		HealthyThresholdCount:      positive(check.HealthyThreshold),
		UnhealthyThresholdCount:    positive(check.UnhealthyThreshold),
		Tags:                       spec.Tags.list(),
	}
	if check.Port != 0 {
		in.HealthCheckPort = aws.String(strconv.Itoa(check.Port))
	}
	if check.Path != "" {
		in.HealthCheckPath = aws.String(check.Path)
	}
	switch {
	case check.TimeoutSeconds > 0:
		in.HealthCheckTimeoutSeconds = number(check.TimeoutSeconds)
	case check.IntervalSeconds > 0:
		in.HealthCheckTimeoutSeconds = number(min(max(check.IntervalSeconds/2, minCheckTimeout), maxCheckTimeout))
	}
	doing := "creating target group " + spec.Name
	out, err := call(ctx, c.log, doing, "CreateTargetGroup", in, c.api.CreateTargetGroup)
	if err != nil {
		return "", err
	}
	if len(out.TargetGroups) != 1 || aws.ToString(out.TargetGroups[0].TargetGroupArn) == "" {
		return "", fmt.Errorf("%s: the answer names no target group", doing)
	}
	return *out.TargetGroups[0].TargetGroupArn, nil
}

// SetAttributes sets attributes of a target group, such as
// deregistration_delay.timeout_seconds; those that are not named stay as they
// are. Setting them again changes nothing, and none at all costs no call.
// ErrTargetGroupGone; ErrRefused for one that the protocol cannot have.
func (c *Client) SetAttributes(ctx context.Context, targetGroupARN string, attributes map[string]string) error {
	if len(attributes) == 0 {
		return nil
	}
	in := &v2.ModifyTargetGroupAttributesInput{TargetGroupArn: aws.String(targetGroupARN)}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		in.Attributes = append(in.Attributes, types.TargetGroupAttribute{Key: aws.String(key), Value: aws.String(attributes[key])})
	}
	_, err := call(ctx, c.log, "setting attributes of "+targetGroupARN, "ModifyTargetGroupAttributes", in, c.api.ModifyTargetGroupAttributes)
	return err
}

// DeleteTargetGroup deletes a target group with its targets; absent is success.
// ErrInUse while a listener forwards to it, or was seen to lately.
func (c *Client) DeleteTargetGroup(ctx context.Context, arn string) error {
	_, err := call(ctx, c.log, "deleting target group "+arn, "DeleteTargetGroup",
		&v2.DeleteTargetGroupInput{TargetGroupArn: aws.String(arn)}, c.api.DeleteTargetGroup)
	if errors.Is(err, ErrTargetGroupGone) {
		return nil
	}
	return err
}

// TargetGroup gives one target group, or ErrTargetGroupGone.
func (c *Client) TargetGroup(ctx context.Context, arn string) (TargetGroup, error) {
	doing := "describing target group " + arn
	out, err := call(ctx, c.log, doing, "DescribeTargetGroups",
		&v2.DescribeTargetGroupsInput{TargetGroupArns: []string{arn}}, c.api.DescribeTargetGroups)
	if err != nil {
		return TargetGroup{}, err
	}
	if len(out.TargetGroups) == 0 {
		return TargetGroup{}, fmt.Errorf("%s: %w", doing, ErrTargetGroupGone)
	}
	return targetGroup(out.TargetGroups[0]), nil
}

// TargetGroups gives all target groups of the account in the region, whoever
// made them.
func (c *Client) TargetGroups(ctx context.Context) ([]TargetGroup, error) {
	return pages(func(marker *string) ([]TargetGroup, *string, error) {
		out, err := call(ctx, c.log, "listing target groups", "DescribeTargetGroups",
			&v2.DescribeTargetGroupsInput{Marker: marker, PageSize: aws.Int32(pageSize)}, c.api.DescribeTargetGroups)
		if err != nil {
			return nil, nil, err
		}
		var groups []TargetGroup
		for _, g := range out.TargetGroups {
			groups = append(groups, targetGroup(g))
		}
		return groups, out.NextMarker, nil
	})
}

func targetGroup(g types.TargetGroup) TargetGroup {
	return TargetGroup{ARN: aws.ToString(g.TargetGroupArn), Name: aws.ToString(g.TargetGroupName), LoadBalancerARNs: g.LoadBalancerArns}
}

func positive(n int) *int32 {
	if n <= 0 {
		return nil
	}
	return number(n)
}
