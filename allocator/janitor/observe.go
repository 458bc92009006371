package janitor

import (
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
	// seen maps lease names to their version and when it was first seen.
	seen map[string]sighting
	// recorded maps the target groups that ports record to when that was first seen.
	recorded map[string]time.Time
}

type sighting struct {
	version string
	since   time.Time
}

// NewObserver makes an Observer that has seen nothing. now must have a monotonic
// reading.
func NewObserver(now func() time.Time) *Observer {
	return &Observer{now: now, seen: make(map[string]sighting)}
}

// Observe records the present versions of all leases and forgets those that are gone.
func (o *Observer) Observe(claims []ledger.Record[ledger.Claim], ports []ledger.Record[ledger.Port]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := make(map[string]sighting, len(claims)+len(ports))
	recorded := make(map[string]time.Time, len(ports))
	for _, c := range claims {
		next[c.Name] = o.observeLocked(c.Name, c.Version)
	}
	for _, p := range ports {
		next[p.Name] = o.observeLocked(p.Name, p.Version)
		if arn := p.Value.TargetGroupARN; arn != "" {
			if recorded[arn] = o.recorded[arn]; recorded[arn].IsZero() {
				recorded[arn] = o.now()
			}
		}
	}
	o.seen, o.recorded = next, recorded
}

func (o *Observer) observeLocked(name, version string) sighting {
	if s, ok := o.seen[name]; ok && s.version == version {
		return s
	}
	return sighting{version, o.now()}
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
	since, ok := o.recorded[targetGroupARN]
	if !ok {
		return 0
	}
	return o.now().Sub(since)
}
