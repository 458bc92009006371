package janitor

import (
	"maps"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Observer remembers how long this process has seen each lease unchanged, by its own
// clock. Every replica observes from its start. So ages survive a change of leader,
// but not a restart.
type Observer struct {
	now func() time.Time

	mu sync.Mutex
	// seen has the version of each lease, and recorded the target group that each port records,
	// each by its own name.
	seen, recorded sightings
	// round counts the observations.
	round int
}

// sightings maps names to what was seen of them.
type sightings map[string]*sighting

// sighting is a version, and when it was first seen.
type sighting struct {
	version string
	since   time.Time
	// round is the last observation that it was part of.
	round int
}

// add notes that a version is there in this round.
func (s sightings) add(name, version string, now time.Time, round int) {
	known := s[name]
	if known == nil {
		known = new(sighting)
		s[name] = known
	}
	if known.version != version || known.round == 0 {
		known.version, known.since = version, now
	}
	known.round = round
}

// keep drops what was not there in this round.
func (s sightings) keep(round int) {
	maps.DeleteFunc(s, func(_ string, seen *sighting) bool { return seen.round != round })
}

// NewObserver makes an Observer that has seen nothing. now must have a monotonic
// reading.
func NewObserver(now func() time.Time) *Observer {
	return &Observer{now: now, seen: make(sightings), recorded: make(sightings)}
}

// Observe records the present versions of all leases and forgets those that are gone.
func (o *Observer) Observe(claims []*ledger.Record[ledger.Claim], ports []*ledger.Record[ledger.Port]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.round++
	now := o.now()
	for _, c := range claims {
		o.seen.add(c.Name, c.Version, now, o.round)
	}
	for _, p := range ports {
		o.seen.add(p.Name, p.Version, now, o.round)
		if arn := p.Value.TargetGroupARN; arn != "" {
			o.recorded.add(arn, "", now, o.round)
		}
	}
	o.seen.keep(o.round)
	o.recorded.keep(o.round)
}

// Age returns how long a version has been seen; 0 if it was not observed.
func (o *Observer) Age(name, version string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.seen[name]
	if !ok || s.version != version {
		return 0
	}
	return o.now().Sub(s.since)
}

// RecordedFor returns for how long this process has seen some port record a target group;
// 0 if it was not observed. The target group is at least that old.
func (o *Observer) RecordedFor(targetGroupARN string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.recorded[targetGroupARN]
	if !ok {
		return 0
	}
	return o.now().Sub(s.since)
}
