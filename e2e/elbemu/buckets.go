package elbemu

import "time"

// Bucket is a token bucket: calls that may come at once, and tokens it regains
// in a second. A zero Capacity does not limit.
type Bucket struct {
	Capacity  float64
	PerSecond float64
}

// Buckets are the token buckets of one account in one Region. Every call takes
// a token of Account and of the bucket of its own kind; a throttled call takes
// none. Source: AWS documentation, "Elastic Load Balancing API throttling".
type Buckets struct {
	Account           Bucket // all actions together
	Mutating          Bucket
	Registration      Bucket // RegisterTargets, DeregisterTargets
	NonMutating       Bucket // Describe*
	ResourceIntensive Bucket // CreateLoadBalancer
}

var awsBuckets = Buckets{
	Account:           Bucket{Capacity: 40, PerSecond: 10},
	Mutating:          Bucket{Capacity: 20, PerSecond: 3},
	Registration:      Bucket{Capacity: 20, PerSecond: 4},
	NonMutating:       Bucket{Capacity: 40, PerSecond: 10},
	ResourceIntensive: Bucket{Capacity: 10, PerSecond: 0.2},
}

// PublishedBuckets are the buckets of [ProfileAWS].
func PublishedBuckets() Buckets { return awsBuckets }

// PublishedDelays are the delays of [ProfileAWS].
func PublishedDelays() Delays { return awsDelays }

// kind is the bucket of an action beside the account's.
type kind int

const (
	mutating kind = iota
	registration
	nonMutating
	resourceIntensive
)

type level struct {
	Bucket
	tokens float64
	at     time.Time // of the last refill; zero before the first call
}

type bucketSet struct {
	account level
	kinds   [4]level
}

func newBucketSet(b Buckets) bucketSet {
	var s bucketSet
	s.account.Bucket = b.Account
	s.kinds[mutating].Bucket = b.Mutating
	s.kinds[registration].Bucket = b.Registration
	s.kinds[nonMutating].Bucket = b.NonMutating
	s.kinds[resourceIntensive].Bucket = b.ResourceIntensive
	return s
}

// take is false when the call must be throttled.
func (s *bucketSet) take(k kind, now time.Time) bool {
	own := &s.kinds[k]
	s.account.refill(now)
	own.refill(now)
	if !s.account.has() || !own.has() {
		return false
	}
	s.account.tokens--
	own.tokens--
	return true
}

func (l *level) refill(now time.Time) {
	switch {
	case l.at.IsZero():
		l.tokens = l.Capacity
	case now.After(l.at):
		l.tokens = min(l.Capacity, l.tokens+now.Sub(l.at).Seconds()*l.PerSecond)
	default:
		return // a clock that stands still or jumps back refills nothing
	}
	l.at = now
}

// has allows for the rounding of fractions: a third of a second refilled three
// times is one token.
func (l *level) has() bool { return l.Capacity == 0 || l.tokens >= 1-1e-6 }
