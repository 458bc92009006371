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

// HealthCheck is how the load balancer checks a target. Port 0 means the target port. A
// zero interval, timeout or threshold means a default.
type HealthCheck = api.HealthCheck

// TargetGroupSpec has all settings of a new target group. Creating it is idempotent for
// exactly these settings.
type TargetGroupSpec struct {
	Name        string
	Protocol    api.Protocol
	Port        int
	VPC         string
	HealthCheck HealthCheck
	Tags        Tags
}

// TargetGroup is one target group in AWS.
type TargetGroup struct {
	ARN  string
	Name string
	// LoadBalancerARNs have a listener that forwards to it; at most one.
	LoadBalancerARNs []string
}

// Bounds of the default timeout of a health check, in seconds. The default is half the
// interval, so that checks never overlap, and not above AWS's own default for TCP.
const (
	minCheckTimeout = 2
	maxCheckTimeout = 10
)

// CreateTargetGroup creates a target group for pod IPs. If one with this name and these
// settings exists, it returns the ARN of that one. So success does not prove who created
// it; the tags do. It fails with ErrDifferent or ErrQuota.
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
	out, err := call(ctx, c, doing, "CreateTargetGroup", in, c.api.CreateTargetGroup)
	if err != nil {
		return "", err
	}
	if len(out.TargetGroups) != 1 || aws.ToString(out.TargetGroups[0].TargetGroupArn) == "" {
		return "", fmt.Errorf("%s: the answer has no target group ARN", doing)
	}
	return *out.TargetGroups[0].TargetGroupArn, nil
}

// SetAttributes sets attributes of a target group, such as
// deregistration_delay.timeout_seconds, and keeps all others. Setting them again changes
// nothing. Without attributes it makes no call. It fails with ErrTargetGroupGone, and
// with ErrRefused for an attribute that the protocol does not allow.
func (c *Client) SetAttributes(ctx context.Context, targetGroupARN string, attributes map[string]string) error {
	if len(attributes) == 0 {
		return nil
	}
	in := &v2.ModifyTargetGroupAttributesInput{TargetGroupArn: aws.String(targetGroupARN)}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		in.Attributes = append(in.Attributes, types.TargetGroupAttribute{Key: aws.String(key), Value: aws.String(attributes[key])})
	}
	_, err := call(ctx, c, "setting attributes of "+targetGroupARN, "ModifyTargetGroupAttributes", in, c.api.ModifyTargetGroupAttributes)
	return err
}

// DeleteTargetGroup deletes a target group with its targets; an absent one is success. It
// fails with ErrInUse while a listener forwards to it, and for some seconds after.
func (c *Client) DeleteTargetGroup(ctx context.Context, arn string) error {
	_, err := call(ctx, c, "deleting target group "+arn, "DeleteTargetGroup",
		&v2.DeleteTargetGroupInput{TargetGroupArn: aws.String(arn)}, c.api.DeleteTargetGroup)
	if errors.Is(err, ErrTargetGroupGone) {
		return nil
	}
	return err
}

// TargetGroup returns one target group. It fails with ErrTargetGroupGone.
func (c *Client) TargetGroup(ctx context.Context, arn string) (TargetGroup, error) {
	doing := "describing target group " + arn
	out, err := call(ctx, c, doing, "DescribeTargetGroups",
		&v2.DescribeTargetGroupsInput{TargetGroupArns: []string{arn}}, c.api.DescribeTargetGroups)
	if err != nil {
		return TargetGroup{}, err
	}
	if len(out.TargetGroups) == 0 {
		return TargetGroup{}, fmt.Errorf("%s: %w", doing, ErrTargetGroupGone)
	}
	return targetGroup(out.TargetGroups[0]), nil
}

// TargetGroups returns all target groups of the account in the region, own and foreign.
func (c *Client) TargetGroups(ctx context.Context) ([]TargetGroup, error) {
	return pages(func(marker *string) ([]TargetGroup, *string, error) {
		out, err := call(ctx, c, "listing target groups", "DescribeTargetGroups",
			&v2.DescribeTargetGroupsInput{Marker: marker, PageSize: aws.Int32(PageSize)}, c.api.DescribeTargetGroups)
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
