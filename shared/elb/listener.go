package elb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	v2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/shared/api"
)

// ListenerSpec has all settings of a new listener.
type ListenerSpec struct {
	LoadBalancerARN string
	Port            int
	Protocol        api.Protocol
	TargetGroupARN  string
	Tags            Tags
}

// Listener is one listener in AWS, own or foreign.
type Listener struct {
	ARN             string
	LoadBalancerARN string
	Port            int
	// Protocol may be one that portlease never creates, such as TLS.
	Protocol string
	// TargetGroupARNs are those it forwards to by default.
	TargetGroupARNs []string
}

// CreateListener creates a listener that forwards a port to a target group. If a listener
// with the same settings exists, it returns the ARN of that one. So success does not
// prove who created it; the tags do. A load balancer has at most one listener on a port,
// whatever its protocol
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html).
//
// It fails with ErrListenerTaken, ErrTargetGroupGone, ErrLoadBalancerGone or ErrQuota.
func (c *Client) CreateListener(ctx context.Context, spec ListenerSpec) (arn string, err error) {
	doing := fmt.Sprintf("creating listener on port %d", spec.Port)
	out, err := call(ctx, c, doing, "CreateListener", &v2.CreateListenerInput{
		LoadBalancerArn: aws.String(spec.LoadBalancerARN),
		Port:            number(spec.Port),
		Protocol:        types.ProtocolEnum(spec.Protocol),
		DefaultActions: []types.Action{{
			Type:           types.ActionTypeEnumForward,
			TargetGroupArn: aws.String(spec.TargetGroupARN),
		}},
		Tags: spec.Tags.list(),
	}, c.api.CreateListener)
	if err != nil {
		return "", err
	}
	if len(out.Listeners) != 1 || aws.ToString(out.Listeners[0].ListenerArn) == "" {
		return "", fmt.Errorf("%s: the answer has no listener ARN", doing)
	}
	return *out.Listeners[0].ListenerArn, nil
}

// DeleteListener deletes a listener; an absent one is success. AWS cuts UDP flows at once
// and lets TCP connections continue until they end.
func (c *Client) DeleteListener(ctx context.Context, arn string) error {
	_, err := call(ctx, c, "deleting listener "+arn, "DeleteListener",
		&v2.DeleteListenerInput{ListenerArn: aws.String(arn)}, c.api.DeleteListener)
	if errors.Is(err, ErrListenerGone) {
		return nil
	}
	return err
}

// Listeners returns all listeners of a load balancer, own and foreign. It fails with
// ErrLoadBalancerGone.
func (c *Client) Listeners(ctx context.Context, loadBalancerARN string) ([]Listener, error) {
	return pages(func(marker *string) ([]Listener, *string, error) {
		out, err := call(ctx, c, "listing the listeners of "+loadBalancerARN, "DescribeListeners",
			&v2.DescribeListenersInput{LoadBalancerArn: aws.String(loadBalancerARN), Marker: marker, PageSize: aws.Int32(PageSize)},
			c.api.DescribeListeners)
		if err != nil {
			return nil, nil, err
		}
		var listeners []Listener
		for _, l := range out.Listeners {
			listeners = append(listeners, listener(l))
		}
		return listeners, out.NextMarker, nil
	})
}

func listener(l types.Listener) Listener {
	result := Listener{
		ARN:             aws.ToString(l.ListenerArn),
		LoadBalancerARN: aws.ToString(l.LoadBalancerArn),
		Port:            int(aws.ToInt32(l.Port)),
		Protocol:        string(l.Protocol),
	}
	for _, action := range l.DefaultActions {
		// AWS returns a single target group in both places.
		if arn := aws.ToString(action.TargetGroupArn); arn != "" {
			result.TargetGroupARNs = append(result.TargetGroupARNs, arn)
			continue
		}
		if action.ForwardConfig == nil {
			continue
		}
		for _, group := range action.ForwardConfig.TargetGroups {
			result.TargetGroupARNs = append(result.TargetGroupARNs, aws.ToString(group.TargetGroupArn))
		}
	}
	return result
}
