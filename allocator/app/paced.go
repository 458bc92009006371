package app

import (
	"context"
	"sync/atomic"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// paced gives the allocator's client of AWS. It reserves each Describe request in the AWS
// budget just before it is sent. The callers of deletions reserve those themselves.
func paced(client *elb.Client, pay *pacer.Pacer) *elb.Client {
	return client.WithBudget(describes{pay})
}

// describes implements elb.Budget.
type describes struct{ pay *pacer.Pacer }

type (
	prepaidKey struct{}
	followsKey struct{}
)

// withPrepaid marks so many Describe requests as reserved together with what follows them.
// More than that are reserved when they are sent.
func withPrepaid(ctx context.Context, describes int) context.Context {
	left := new(atomic.Int64)
	left.Store(int64(describes))
	return context.WithValue(ctx, prepaidKey{}, left)
}

// withFollows marks Describe calls that let those of the leader go first while follows
// returns true.
func withFollows(ctx context.Context, follows func() bool) context.Context {
	return context.WithValue(ctx, followsKey{}, follows)
}

// ReserveDescribe charges the request to the pod that it is made for, and reserves it.
func (d describes) ReserveDescribe(ctx context.Context) error {
	if err := httpapi.Charge(ctx, 1); err != nil {
		return err
	}
	if left, ok := ctx.Value(prepaidKey{}).(*atomic.Int64); ok && left.Add(-1) >= 0 {
		return nil
	}
	follows, _ := ctx.Value(followsKey{}).(func() bool)
	return d.pay.WaitForDescribe(ctx, follows)
}

// DescribeThrottled reports to the budget that others use the account, too.
func (d describes) DescribeThrottled(ctx context.Context) error { return d.pay.Throttled(ctx, "", 1) }
