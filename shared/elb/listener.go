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

// ListenerSpec is everything a listener is created with.
type ListenerSpec struct {
	LoadBalancerARN string
	Port            int
	Protocol        api.Protocol
	TargetGroupARN  string
	Tags            Tags
}

// Listener is one listener as AWS knows it, whoever made it.
type Listener struct {
	ARN             string
	LoadBalancerARN string
	Port            int
	// Protocol may be one that this package never creates, such as TLS.
	Protocol string
	// TargetGroupARNs are those it forwards to by default.
	TargetGroupARNs []string
}

// CreateListener makes a listener that forwards a port to a target group. When
// this very listener exists, its ARN is given instead, so success does not prove
// who made it: look at its tags. A listener is unique by port alone on its load
// balancer, whatever it speaks
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html).
// ErrListenerTaken, ErrTargetGroupGone, ErrLoadBalancerGone, ErrQuota.
func (c *Client) CreateListener(ctx context.Context, spec ListenerSpec) (arn string, err error) {
	doing := fmt.Sprintf("creating listener on port %d", spec.Port)
	out, err := call(ctx, c.log, doing, "CreateListener", &v2.CreateListenerInput{
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
		return "", fmt.Errorf("%s: the answer names no listener", doing)
	}
	return *out.Listeners[0].ListenerArn, nil
}

// DeleteListener deletes a listener; absent is success. Flows over UDP are cut,
// those over TCP go on until they end.
func (c *Client) DeleteListener(ctx context.Context, arn string) error {
	_, err := call(ctx, c.log, "deleting listener "+arn, "DeleteListener",
		&v2.DeleteListenerInput{ListenerArn: aws.String(arn)}, c.api.DeleteListener)
	if errors.Is(err, ErrListenerGone) {
		return nil
	}
	return err
}

// Listeners gives all listeners of a load balancer, whoever made them.
// ErrLoadBalancerGone.
func (c *Client) Listeners(ctx context.Context, loadBalancerARN string) ([]Listener, error) {
	return pages(func(marker *string) ([]Listener, *string, error) {
		out, err := call(ctx, c.log, "listing the listeners of "+loadBalancerARN, "DescribeListeners",
			&v2.DescribeListenersInput{LoadBalancerArn: aws.String(loadBalancerARN), Marker: marker, PageSize: aws.Int32(pageSize)},
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
		// AWS answers the one target group of an action in both places.
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
