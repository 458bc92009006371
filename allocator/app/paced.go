package app

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// paced reserves every describe call in the AWS budget before it is sent. The callers of
// deletions reserve those themselves.
type paced struct {
	*elb.Client
	pay *pacer.Pacer
}

// LoadBalancers reserves one call for every batch and one for each load balancer's attributes.
func (p paced) LoadBalancers(ctx context.Context, arns ...string) ([]elb.LoadBalancer, error) {
	return describe(ctx, p.pay, elb.DescribeCalls(len(arns))+len(arns), func() ([]elb.LoadBalancer, error) { return p.Client.LoadBalancers(ctx, arns...) })
}

// NetworkLoadBalancers reserves one page.
func (p paced) NetworkLoadBalancers(ctx context.Context) ([]string, error) {
	return describe(ctx, p.pay, 1, func() ([]string, error) { return p.Client.NetworkLoadBalancers(ctx) })
}

// Listeners reserves one call: a load balancer has fewer listeners than a page.
func (p paced) Listeners(ctx context.Context, arn string) ([]elb.Listener, error) {
	return describe(ctx, p.pay, 1, func() ([]elb.Listener, error) { return p.Client.Listeners(ctx, arn) })
}

// ListenerLimit reserves one page.
func (p paced) ListenerLimit(ctx context.Context) (int, error) {
	return describe(ctx, p.pay, 1, func() (int, error) { return p.Client.ListenerLimit(ctx) })
}

// TargetGroups reserves one page; an account has eight of them at most unless its
// quota was raised.
func (p paced) TargetGroups(ctx context.Context) ([]elb.TargetGroup, error) {
	return describe(ctx, p.pay, 1, func() ([]elb.TargetGroup, error) { return p.Client.TargetGroups(ctx) })
}

// Targets reserves one call.
func (p paced) Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error) {
	return describe(ctx, p.pay, 1, func() ([]elb.Target, error) { return p.Client.Targets(ctx, targetGroupARN) })
}

// Tags reserves one call for every batch.
func (p paced) Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error) {
	return describe(ctx, p.pay, elb.DescribeCalls(len(arns)), func() (map[string]map[string]string, error) { return p.Client.Tags(ctx, arns...) })
}

type prepaid struct{}

// withPrepaid marks describe calls that were reserved together with what follows them.
func withPrepaid(ctx context.Context) context.Context { return context.WithValue(ctx, prepaid{}, true) }

// describe charges the calls to the pod that they are made for, reserves them, makes
// them, and reports to the budget if AWS throttles them nevertheless: others use the
// account, too.
func describe[T any](ctx context.Context, pay *pacer.Pacer, calls int, ask func() (T, error)) (T, error) {
	var none T
	if err := httpapi.Charge(ctx, calls); err != nil {
		return none, err
	}
	if ctx.Value(prepaid{}) == nil {
		if err := pay.WaitForDescribes(ctx, calls); err != nil {
			return none, err
		}
	}
	answer, err := ask()
	if errors.Is(err, elb.ErrThrottled) {
		err = errors.Join(err, pay.Throttled(ctx, "", 1))
	}
	return answer, err
}
