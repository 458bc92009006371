package elb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	v2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// Type and State of a load balancer that can serve.
const (
	TypeNetwork = "network"
	StateActive = "active"
)

// crossZone is the attribute with which the addresses of all zones reach targets in all
// zones. Without it AWS removes zones without a target from DNS. With one target per
// target group, that is all zones but one.
const crossZone = "load_balancing.cross_zone.enabled"

// Names of limits in DescribeAccountLimits
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Limit.html).
const (
	listenersQuota    = "listeners-per-network-load-balancer"
	targetGroupsQuota = "target-groups"
	targetsQuota      = "targets-per-network-load-balancer"
)

// LoadBalancer is one load balancer in AWS.
type LoadBalancer struct {
	ARN  string
	Name string
	// Host is its DNS name.
	Host string
	VPC  string
	// Type is network, application or gateway.
	Type string
	// State is active, provisioning, active_impaired or failed; Reason says why.
	State  string
	Reason string
	Scheme string
	// SecurityGroups are ids. AWS adds security groups only to a load balancer that was
	// created with some.
	SecurityGroups []string
	// Addresses are its Elastic IPs in the order of its zones; empty if it has none.
	Addresses []string
}

// LoadBalancers returns the load balancers that exist, in no particular order. It sends one
// request for every 20 ARNs; each ARN that does not exist costs a few more. With an error
// it returns those that it has read so far as well.
func (c *Client) LoadBalancers(ctx context.Context, arns ...string) ([]LoadBalancer, error) {
	arns = slices.Compact(slices.Sorted(slices.Values(arns)))
	gone := func(err error) bool { return errors.Is(err, ErrLoadBalancerGone) }
	found, err := batches(arns, func(some []string) ([]types.LoadBalancer, error) {
		out, err := call(ctx, c, fmt.Sprintf("describing %d load balancers", len(some)), "DescribeLoadBalancers",
			&v2.DescribeLoadBalancersInput{LoadBalancerArns: some}, c.api.DescribeLoadBalancers)
		if err != nil {
			return nil, err
		}
		return out.LoadBalancers, nil
	}, gone)
	loadBalancers := make([]LoadBalancer, 0, len(found))
	for _, b := range found {
		loadBalancers = append(loadBalancers, loadBalancer(b))
	}
	return loadBalancers, err
}

// NetworkLoadBalancers returns the ARNs of all network load balancers of the account in
// the region. It makes one call for every 400 load balancers of any type.
func (c *Client) NetworkLoadBalancers(ctx context.Context) ([]string, error) {
	all, err := pages(func(marker *string) ([]types.LoadBalancer, *string, error) {
		out, err := call(ctx, c, "listing load balancers", "DescribeLoadBalancers",
			&v2.DescribeLoadBalancersInput{Marker: marker, PageSize: aws.Int32(PageSize)}, c.api.DescribeLoadBalancers)
		if err != nil {
			return nil, nil, err
		}
		return out.LoadBalancers, out.NextMarker, nil
	})
	if err != nil {
		return nil, err
	}
	var arns []string
	for _, b := range all {
		if b.Type == types.LoadBalancerTypeEnumNetwork {
			arns = append(arns, aws.ToString(b.LoadBalancerArn))
		}
	}
	return arns, nil
}

func loadBalancer(b types.LoadBalancer) LoadBalancer {
	one := LoadBalancer{
		ARN:    aws.ToString(b.LoadBalancerArn),
		Name:   aws.ToString(b.LoadBalancerName),
		Host:   aws.ToString(b.DNSName),
		VPC:    aws.ToString(b.VpcId),
		Type:   string(b.Type),
		Scheme: string(b.Scheme),

		SecurityGroups: b.SecurityGroups,
	}
	for _, zone := range b.AvailabilityZones {
		for _, address := range zone.LoadBalancerAddresses {
			if ip := aws.ToString(address.IpAddress); ip != "" {
				one.Addresses = append(one.Addresses, ip)
			}
		}
	}
	if b.State != nil {
		one.State, one.Reason = string(b.State.Code), aws.ToString(b.State.Reason)
	}
	return one
}

// CrossZone reports whether cross-zone load balancing is on. It fails with
// ErrLoadBalancerGone.
func (c *Client) CrossZone(ctx context.Context, arn string) (bool, error) {
	out, err := call(ctx, c, "reading the attributes of "+arn, "DescribeLoadBalancerAttributes",
		&v2.DescribeLoadBalancerAttributesInput{LoadBalancerArn: aws.String(arn)}, c.api.DescribeLoadBalancerAttributes)
	if err != nil {
		return false, err
	}
	for _, a := range out.Attributes {
		if aws.ToString(a.Key) == crossZone {
			return aws.ToString(a.Value) == "true", nil
		}
	}
	return false, nil
}

// Limits are the quotas of the account in the region.
type Limits struct {
	// Listeners of one network load balancer.
	Listeners int
	// TargetGroups of the region, including those of application load balancers, and
	// Targets of one network load balancer; 0 if AWS does not say.
	TargetGroups, Targets int
}

// Limits reads the account's limits.
func (c *Client) Limits(ctx context.Context) (Limits, error) {
	const doing = "reading the account's limits"
	all, err := pages(func(marker *string) ([]types.Limit, *string, error) {
		out, err := call(ctx, c, doing, "DescribeAccountLimits",
			&v2.DescribeAccountLimitsInput{Marker: marker, PageSize: aws.Int32(PageSize)}, c.api.DescribeAccountLimits)
		if err != nil {
			return nil, nil, err
		}
		return out.Limits, out.NextMarker, nil
	})
	if err != nil {
		return Limits{}, err
	}
	var l Limits
	into := map[string]*int{listenersQuota: &l.Listeners, targetGroupsQuota: &l.TargetGroups, targetsQuota: &l.Targets}
	for _, limit := range all {
		name := aws.ToString(limit.Name)
		if into[name] == nil {
			continue
		}
		if *into[name], err = strconv.Atoi(aws.ToString(limit.Max)); err != nil {
			return Limits{}, fmt.Errorf("%s: %s is %q: %w", doing, name, aws.ToString(limit.Max), err)
		}
	}
	if l.Listeners == 0 {
		return Limits{}, fmt.Errorf("%s: AWS did not return the limit %s", doing, listenersQuota)
	}
	return l, nil
}
