// Package budget shares the account's token buckets among all who call AWS.
//
// AWS gives one account a few mutating calls a second, whoever makes them. The
// decision here lets them go in an order that fits: creates before deletes, the
// oldest first, and nobody before the tokens are there. It is pure: State is what
// all replicas know, kept in one Lease and changed by compare-and-swap; each
// replica brings the time that was not counted yet, by its own monotonic clock
// (see Clock).
//
// Whatever the replicas do, no more is handed out than the buckets hold. What is
// not promised: a clock that runs fast is believed, and calls that nobody paid
// for are seen only when AWS throttles somebody who reports it.
package budget

import "time"

// Tokens is one number for each bucket, in calls: what is left, what something
// costs, or what a second brings.
type Tokens struct {
	Mutating     float64 `json:"mutating,omitempty"`
	Registration float64 `json:"registration,omitempty"`
	All          float64 `json:"all,omitempty"`
}

// Bucket is one token bucket: calls that may come at once, and calls that it
// regains in a second.
type Bucket struct {
	Burst     float64 `json:"burst"`
	PerSecond float64 `json:"perSecond"`
}

// Limits are the account's buckets. Every call takes a token of All, and one of
// the bucket of its own kind as well.
type Limits struct {
	// Mutating is for calls that create, change and delete.
	Mutating Bucket `json:"mutating"`
	// Registration is for RegisterTargets and DeregisterTargets.
	Registration Bucket `json:"registration"`
	// All is for every call, Describe calls included. Those have a bucket of their
	// own of the same size, which can never be emptier.
	All Bucket `json:"all"`
}

// Default are the limits that AWS publishes for an account in a Region
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/throttling.html).
// AWS raises them on request.
func Default() Limits {
	return Limits{
		Mutating:     Bucket{Burst: 20, PerSecond: 3},
		Registration: Bucket{Burst: 20, PerSecond: 4},
		All:          Bucket{Burst: 40, PerSecond: 10},
	}
}

// Share is the part of the limits that is used, above 0 and up to 1, where others
// call AWS for the same account.
func (l Limits) Share(part float64) Limits {
	some := func(b Bucket) Bucket { return Bucket{Burst: b.Burst * part, PerSecond: b.PerSecond * part} }
	return Limits{some(l.Mutating), some(l.Registration), some(l.All)}
}

// What one thing takes, in calls. Attributes are paid on top of a create; a bound
// port whose agent was restarted is only looked at.
var (
	// CreateCost is CreateTargetGroup, RegisterTargets, CreateListener and a look
	// at the tags of what they made.
	CreateCost = Tokens{Mutating: 2, Registration: 1, All: 4}
	// AttributesCost is ModifyTargetGroupAttributes.
	AttributesCost = Tokens{Mutating: 1, All: 1}
	// CheckCost is what comparing a bound port with AWS takes: its targets, the
	// listeners of its load balancer, their tags.
	CheckCost = Tokens{All: 3}
	// DeleteCost is DeleteListener, DeleteTargetGroup and the looks before them.
	DeleteCost = Tokens{Mutating: 2, All: 4}
	// OpportunisticCost is DeleteCost by an agent, and one more DeleteTargetGroup with its
	// looks, by which the janitor confirms it.
	OpportunisticCost = Tokens{Mutating: 3, All: 8}
	// DeregisterCost is DeregisterTargets.
	DeregisterCost = Tokens{Registration: 1, All: 1}
	// DescribeCost is one Describe call.
	DescribeCost = Tokens{All: 1}
)

// slack is how far apart in time the way from a permit to AWS may draw two calls
// without their piling up beyond the bucket. What is handed out at once is less
// than AWS's burst by what this time refills: calls that went out within t
// seconds arrive at worst within t minus slack.
const slack = time.Second

// capacity is how many tokens are handed out at once at most. However a bucket is
// cut, half of it is used.
func (b Bucket) capacity() float64 {
	return max(b.Burst-slack.Seconds()*b.PerSecond, b.Burst/2)
}

func (l Limits) capacity() Tokens {
	return Tokens{l.Mutating.capacity(), l.Registration.capacity(), l.All.capacity()}
}

func (l Limits) perSecond() Tokens {
	return Tokens{l.Mutating.PerSecond, l.Registration.PerSecond, l.All.PerSecond}
}

// Plus adds.
func (t Tokens) Plus(u Tokens) Tokens {
	return t.with(u, func(a, b float64) float64 { return a + b })
}

// Minus takes away.
func (t Tokens) Minus(u Tokens) Tokens {
	return t.with(u, func(a, b float64) float64 { return a - b })
}

// Times multiplies.
func (t Tokens) Times(f float64) Tokens {
	return Tokens{t.Mutating * f, t.Registration * f, t.All * f}
}

func (t Tokens) atMost(u Tokens) Tokens {
	return t.with(u, func(a, b float64) float64 { return min(a, b) })
}

func (t Tokens) atLeast(u Tokens) Tokens {
	return t.with(u, func(a, b float64) float64 { return max(a, b) })
}

func (t Tokens) with(u Tokens, f func(a, b float64) float64) Tokens {
	return Tokens{f(t.Mutating, u.Mutating), f(t.Registration, u.Registration), f(t.All, u.All)}
}

// rounding is what fractions may be off: a third refilled three times is one.
const rounding = 1e-6

// cover tells whether t has at least what u has in each bucket that cost touches.
func (t Tokens) cover(u, cost Tokens) bool {
	enough := func(have, need, cost float64) bool { return cost == 0 || have >= need-rounding }
	return enough(t.Mutating, u.Mutating, cost.Mutating) &&
		enough(t.Registration, u.Registration, cost.Registration) &&
		enough(t.All, u.All, cost.All)
}
