package elbemu

import "time"

// Bucket is a token bucket: its capacity is the burst, and it refills by so many tokens a
// second. A zero Capacity means no limit.
type Bucket struct {
	Capacity  float64
	PerSecond float64
}

// Buckets are the token buckets of one account in one Region. Every call takes one token
// from Account and one from the bucket of its kind. A throttled call takes none. Source:
// AWS documentation, "Elastic Load Balancing API throttling".
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

// kind selects the bucket that an action uses in addition to the account's.
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

// take returns false if the call must be throttled.
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
		return // a clock that stands still or jumps back does not refill
	}
	l.at = now
}

// has tolerates rounding errors: three refills of a third of a second add up to one token.
func (l *level) has() bool { return l.Capacity == 0 || l.tokens >= 1-1e-6 }
