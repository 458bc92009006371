// Package paced reserves each Describe request of the allocator's client of AWS in the AWS
// budget just before it is sent. The callers of deletions reserve those themselves.
package paced

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/shared/elb"
)

// Client gives a client of AWS whose Describe requests are paced. pay is asked with each
// request, so the budget may be made later than the client.
func Client(client *elb.Client, pay func() *pacer.Pacer) *elb.Client {
	return client.WithBudget(describes{pay})
}

// describes implements elb.Budget.
type describes struct{ pay func() *pacer.Pacer }

type (
	prepaidKey struct{}
	followsKey struct{}
)

// WithPrepaid marks so many Describe requests as reserved together with what follows them.
// More than that are reserved when they are sent.
func WithPrepaid(ctx context.Context, describes int) context.Context {
	left := new(atomic.Int64)
	left.Store(int64(describes))
	return context.WithValue(ctx, prepaidKey{}, left)
}

// standbyPatience is for how long a standby replica lets the describe calls of the
// leader go first in one pass, besides the time that the leader needs for the same calls.
// After that it must become able to serve, too.
const standbyPatience = 5 * time.Second

// Following marks the calls of a pass that let those of the leader go first, unless this
// replica leads. calls is how many there are, and perSecond how many the budget allows.
func Following(ctx context.Context, calls int, perSecond float64, now func() time.Time, leads func() bool) context.Context {
	patient := now().Add(standbyPatience + time.Duration(float64(calls)/perSecond*float64(time.Second)))
	return context.WithValue(ctx, followsKey{}, func() bool { return !leads() && now().Before(patient) })
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
	return d.pay().WaitForDescribe(ctx, follows)
}

// DescribeThrottled reports to the budget that others use the account, too.
func (d describes) DescribeThrottled(ctx context.Context) error {
	return d.pay().Throttled(ctx, "", 1)
}
