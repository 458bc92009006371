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

// state is the whole account. It has no lock: Emulator.mu guards it, and every operation
// is one step under that mutex. The caller sets now before each step; this type reads no
// clock.
type state struct {
	cfg  *Config
	rand *rand.Rand
	now  time.Time

	reading bool          // the current call is a Describe
	behind  time.Duration // age of the copy that serves the current call; see copyAge

	order   uint64 // creation order; lists and page markers use it
	version uint64 // increases with every change that the data plane must see

	loadBalancers map[string]*loadBalancer // by ARN
	targetGroups  map[string]*targetGroup  // by ARN
	listeners     map[string]*listener     // by ARN
	groupNames    map[string]*targetGroup  // by name

	gone []goneListener // deleted listeners that the data plane still has, oldest first

	buckets bucketSet
	cuts    []Cut                          // flows that must end, queued for the data plane
	place   func() (netip.Addr, *APIError) // chooses the address of a load balancer; nil without a data plane
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

// hexID returns a new last part of an ARN.
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

// visible reports whether the current call sees the resource. It delays only reads: calls
// that change something can use a new resource at once, except for what finds says.
func (s *state) visible(c created, lag time.Duration) bool {
	return !s.reading || !s.now.Before(c.at.Add(lag))
}

// created has the common fields of load balancers, target groups and listeners.
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

// inOrder lists the resources that keep selects, in order of creation. A nil keep selects
// all.
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
