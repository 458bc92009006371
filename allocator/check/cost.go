package check

import (
	"context"
	"math"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/shared/elb"
)

// Pace keeps the calls of the check to half of the account's rate, because an allocator may
// be using the same account. It implements elb.Budget.
type Pace struct{ limiter *rate.Limiter }

// NewPace makes a Pace for an account's limits.
func NewPace(l budget.Limits) Pace {
	burst := min(l.Describe.Burst, l.All.Burst) / 2
	return Pace{rate.NewLimiter(rate.Limit(l.DescribesPerSecond()/2), max(1, int(burst)))}
}

// ReserveDescribe implements elb.Budget.
func (p Pace) ReserveDescribe(ctx context.Context) error { return p.limiter.Wait(ctx) }

// DescribeThrottled implements elb.Budget. The row of the call shows it.
func (Pace) DescribeThrottled(context.Context) error { return nil }

// describes reports what audits cost, and how long a new replica needs to read the load
// balancers. The budget gives all calls of the account to pods that start, but for a small
// reserve; so audits that take more than half of them get slow.
func (r *Report) describes(states []inventory.State, groups int, l budget.Limits, every time.Duration) {
	arns := make([]string, 0, len(states))
	for _, s := range states {
		arns = append(arns, s.ARN)
	}
	slices.Sort(arns)
	n, perSecond := len(slices.Compact(arns)), l.DescribesPerSecond()
	audit := n + (groups+elb.PageSize-1)/elb.PageSize + janitor.TargetChecks
	first := inventory.FirstReads(n)
	const what = "describe calls"
	const found = "an audit makes %d (one for each of %d load balancers, one for every %d of %d target groups, %d for targets); every %v that is %.1f of the %.0f a second that the account may make. " +
		"A replica that starts reads the load balancers with %d calls, in %d s"
	used := float64(audit) / every.Seconds()
	values := []any{audit, n, elb.PageSize, groups, janitor.TargetChecks, every, used, perSecond, first, int(math.Ceil(float64(first) / perSecond))}
	if least := time.Duration(math.Ceil(2*float64(audit)/perSecond)) * time.Second; every < least {
		r.add(what, Warning, found+": set audit-every to %v at least, or pods that start wait for audits", append(values, least)...)
		return
	}
	r.add(what, OK, found, values...)
}
