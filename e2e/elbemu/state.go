package elbemu

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// state is the whole account. It holds no lock: Emulator.mu guards it, and
// every operation is one step under that mutex. now is set before each step;
// nothing in here reads a clock.
type state struct {
	cfg  *Config
	rand *rand.Rand
	now  time.Time

	reading bool // the present call is a Describe

	order   uint64 // of creation; lists and page markers follow it
	version uint64 // grows with every change that the data plane must see

	loadBalancers map[string]*loadBalancer // ARN →
	targetGroups  map[string]*targetGroup  // ARN →
	listeners     map[string]*listener     // ARN →
	groupNames    map[string]*targetGroup  // name →

	gone []goneListener // that the data plane still has, oldest first

	buckets bucketSet
	cuts    []Cut                          // flows that must end, for the data plane to take
	place   func() (netip.Addr, *APIError) // gives a load balancer its address; nil without data plane
}

func newState(cfg *Config, source *rand.Rand) *state {
	return &state{
		cfg:           cfg,
		rand:          source,
		now:           cfg.Now(),
		loadBalancers: map[string]*loadBalancer{},
		targetGroups:  map[string]*targetGroup{},
		listeners:     map[string]*listener{},
		groupNames:    map[string]*targetGroup{},
		buckets:       newBucketSet(*cfg.Buckets),
	}
}

// hexID is the last part of an ARN.
func (s *state) hexID() string { return fmt.Sprintf("%016x", s.rand.Uint64()) }

func (s *state) requestID() string {
	high, low := s.rand.Uint64(), s.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x",
		high>>32, high>>16&0xffff, high&0xfff, low>>48&0x3fff|0x8000, low&0xffffffffffff)
}

func (s *state) arn(resource string) string {
	return fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:%s", s.cfg.Region, s.cfg.Account, resource)
}

func (s *state) next() uint64 {
	s.order++
	return s.order
}

func (s *state) changed() { s.version++ }

// visible tells whether the present call finds the resource. Only reads lag;
// what was created can be used at once by calls that change something.
func (s *state) visible(c created, lag time.Duration) bool {
	return !s.reading || !s.now.Before(c.at.Add(lag))
}

// created is what load balancers, target groups and listeners share.
type created struct {
	arn   string
	order uint64
	at    time.Time
	tags  tagSet // never nil
}

func (c created) position() uint64 { return c.order }

func (s *state) newResource(arn string, tags tagSet) created {
	return created{arn: arn, order: s.next(), at: s.now, tags: maps.Clone(tags)}
}

// inOrder lists in order of creation what keep admits; nil admits all.
func inOrder[T ordered](all map[string]T, keep func(T) bool) []T {
	list := make([]T, 0, len(all))
	for _, one := range all {
		if keep == nil || keep(one) {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(a.position(), b.position()) })
	return list
}
