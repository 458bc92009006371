// Package budget shares the account's token buckets among all callers of AWS.
//
// AWS allows an account a few mutating calls a second, whoever makes them. This
// package decides which caller may go: creates before deletes, the oldest create
// first, and no call before its tokens are there. It is pure. State is what all
// replicas know; it is kept in one Lease and changed by compare-and-swap. Each
// replica adds the time that State does not count yet, by its own monotonic clock
// (see Clock).
//
// Whatever the replicas do, they never grant more than the buckets hold. Two things
// are not promised. A clock that runs fast is believed. Calls that nobody reserved
// are noticed only when AWS throttles a caller that reports it.
package budget

import "time"

// Bucket is one token bucket.
type Bucket struct {
	// Burst is how many calls may come at once.
	Burst float64 `json:"burst"`
	// PerSecond is how many calls the bucket regains in a second.
	PerSecond float64 `json:"perSecond"`
}

// Limits are the account's buckets. Every call takes a token of All, and one of the
// bucket of its kind.
type Limits struct {
	// Mutating is for calls that create, change and delete.
	Mutating Bucket `json:"mutating"`
	// Registration is for RegisterTargets and DeregisterTargets.
	Registration Bucket `json:"registration"`
	// Describe is for calls that only read.
	Describe Bucket `json:"describe"`
	// All is for every call.
	All Bucket `json:"all"`
}

// Default returns the limits that AWS publishes for an account in a Region
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/throttling.html).
// AWS raises them on request. For Describe calls the table on that page says 200 and 50 a
// second, and its text 40 and 10; the lower ones are safe.
func Default() Limits {
	return Limits{
		Mutating:     Bucket{Burst: 20, PerSecond: 3},
		Registration: Bucket{Burst: 20, PerSecond: 4},
		Describe:     Bucket{Burst: 40, PerSecond: 10},
		All:          Bucket{Burst: 40, PerSecond: 10},
	}
}

// Share returns the given fraction of the limits, above 0 and up to 1. Use it where
// other programs call AWS for the same account.
func (l Limits) Share(fraction float64) Limits {
	scale := func(b Bucket) Bucket { return Bucket{Burst: b.Burst * fraction, PerSecond: b.PerSecond * fraction} }
	return Limits{scale(l.Mutating), scale(l.Registration), scale(l.Describe), scale(l.All)}
}

// slack is by how much the delay between a grant and its call may vary before
// calls pile up beyond AWS's bucket. The capacity is smaller than AWS's burst by
// what this time refills: calls granted within t seconds arrive, at worst, within
// t minus slack.
const slack = time.Second

// capacity is how many tokens can be granted at once: the burst without the slack,
// and at least half of the burst.
func (b Bucket) capacity() float64 {
	return max(b.Burst-slack.Seconds()*b.PerSecond, b.Burst/2)
}

func (l Limits) capacity() Tokens {
	return Tokens{l.Mutating.capacity(), l.Registration.capacity(), l.Describe.capacity(), l.All.capacity()}
}

func (l Limits) perSecond() Tokens {
	return Tokens{l.Mutating.PerSecond, l.Registration.PerSecond, l.Describe.PerSecond, l.All.PerSecond}
}

// maxDescribeReserve is how many tokens of Describe and of All are reserved for the
// allocator's Describe calls.
func (l Limits) maxDescribeReserve() float64 {
	capacity := l.capacity()
	return max(DescribeCost.All, min(describeReserve, capacity.All/4, capacity.Describe/4))
}

// DescribesPerSecond is how many Describe calls the buckets regain in a second.
func (l Limits) DescribesPerSecond() float64 { return min(l.Describe.PerSecond, l.All.PerSecond) }

// MaxDescribes is how many Describe calls may be requested together. A request for
// more than the reserve could be refused for as long as creates are waiting.
func (l Limits) MaxDescribes() int { return int(l.maxDescribeReserve()) }

// UnbindEvery is in what time the limits let one port come free.
func (l Limits) UnbindEvery() time.Duration {
	return time.Duration(DeleteCost.Mutating / l.Mutating.PerSecond * float64(time.Second))
}
