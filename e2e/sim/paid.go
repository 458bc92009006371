package sim

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/pacer"
)

// describes implements elb.Budget as allocator/app does.
type describes struct{ pay func() *pacer.Pacer }

type (
	prepaidKey struct{}
	followsKey struct{}
)

func withPrepaid(ctx context.Context, describes int) context.Context {
	left := new(atomic.Int64)
	left.Store(int64(describes))
	return context.WithValue(ctx, prepaidKey{}, left)
}

// ReserveDescribe implements elb.Budget.
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

// DescribeThrottled implements elb.Budget.
func (d describes) DescribeThrottled(ctx context.Context) error { return d.pay().Throttled(ctx, "", 1) }

// standbyPatience is for how long a standby replica lets the describe calls of the leader
// go first, besides the time that so many calls need.
const standbyPatience = 5 * time.Second

// following marks describe calls that let those of the leader go first.
func (r *replica) following(ctx context.Context, calls int) context.Context {
	patient := r.clock.now().Add(standbyPatience + time.Duration(float64(calls)/budget.Default().DescribesPerSecond()*float64(time.Second)))
	return context.WithValue(ctx, followsKey{}, func() bool { return !r.leading.Load() && r.clock.now().Before(patient) })
}
