package httpapi

import (
	"sync"
	"time"
)

const (
	// mostBusy bounds for how long an overloaded allocator sends a caller away.
	mostBusy = time.Minute
	// serviceWeight is the weight of the newest call in the average.
	serviceWeight = 0.1
)

// line tells callers when their turn may come, from how long calls take. Those that are sent
// away are told times one after another, so that they come back as they can be served, and
// not all at once.
type line struct {
	now func() time.Time
	// running is how many calls run at a time.
	running int

	mu sync.Mutex
	// service is how long a call takes on average; 0 before the first.
	service time.Duration
	// next is when the next caller that is sent away may come back.
	next time.Time
}

func newLine(running int, now func() time.Time) *line { return &line{running: running, now: now} }

// served records how long a call took. What a clock that was set says is no time that a call
// can take.
func (l *line) served(took time.Duration) {
	took = min(max(took, 0), requestTimeout)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.service == 0 {
		l.service = took
		return
	}
	l.service += time.Duration(serviceWeight * float64(took-l.service))
}

// wait is how long a caller behind that many others will wait for its turn (Little's law). It
// is 0 while there is a turn for everybody.
func (l *line) wait(ahead int) time.Duration {
	if ahead <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(ahead) * l.service / time.Duration(l.running)
}

// sendAway returns when to come back, and gives the next caller a later time.
func (l *line) sendAway() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(l.service / time.Duration(l.running))
	if latest := now.Add(mostBusy); l.next.After(latest) {
		l.next = latest
	}
	return max(l.next.Sub(now), time.Second)
}
