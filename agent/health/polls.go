package health

import (
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/shared/api"
)

const (
	firstPause = 5 * time.Second
	mostPause  = time.Minute
)

// Polls plans the describe calls that follow a pod's targets until they are healthy. Each
// costs one of the account's ten a second, and a target usually needs tens of seconds to
// become healthy, so the calls become ever rarer. The zero value plans none. It is for
// one goroutine.
type Polls struct {
	running bool
	// next is when to describe, and pause how long to wait after that.
	next  time.Time
	pause time.Duration
}

// Start starts over.
func (p *Polls) Start(now time.Time) {
	*p = Polls{running: true, next: now.Add(firstPause), pause: firstPause}
}

// Stop ends the describe calls.
func (p *Polls) Stop() { p.running = false }

// Next is when to describe targets; false if there is nothing to describe.
func (p *Polls) Next() (time.Time, bool) { return p.next, p.running }

// Describes is how many describe calls to ask for now: one for each target that was not
// seen healthy.
func (p *Polls) Describes(now time.Time, notHealthy int) int {
	if !p.running || now.Before(p.next) {
		return 0
	}
	return min(notHealthy, api.MaxDescribes)
}

// Postpone describes nothing before a time.
func (p *Polls) Postpone(until time.Time) { p.next = until }

// Refused plans the next time after the budget refused the calls for at least a while. Each
// request is a renewal, so they become as rare as the calls.
func (p *Polls) Refused(now time.Time, wait time.Duration, jitter func() float64) {
	p.Described(now, jitter)
	if at := now.Add(wait); at.After(p.next) {
		p.next = at
	}
}

// Described plans the next time.
func (p *Polls) Described(now time.Time, jitter func() float64) {
	p.next = now.Add(clock.Around(p.pause, jitter))
	p.pause = min(2*p.pause, mostPause)
}
