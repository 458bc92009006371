package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
)

// Errors of calls. None of them says whether the call was applied.
var (
	errRefused = errors.New("connection refused")
	errLost    = errors.New("connection reset while waiting for the answer")
	errKilled  = errors.New("the process was killed")
)

// outcome is how a call ended.
type outcome struct {
	value any
	err   error
}

// call is one remote call on its way. Its caller waits in await until it is answered or
// its context ends. The call itself may last longer.
type call struct {
	process *Process
	// thread and seq name the call independently of how goroutines were
	// scheduled: a thread is one goroutine after another.
	thread string
	seq    int
	kind   kind
	what   string
	// apply runs on the scheduler's goroutine and must not block. It returns false if
	// the answer comes later.
	apply func(*call) (outcome, bool)
	// refusal is how AWS refuses the call; nil if the call is not to AWS.
	refusal func(elbemu.Fault) outcome
	// listed is the load balancer whose listeners the call lists.
	listed string

	answer chan outcome // has room for one
	// closed is a call that was answered or whose caller gave up.
	closed bool
	// planned is whether the scheduler has seen the call and set due.
	planned bool
	due     time.Time
	// random decides its outcome; only the scheduler's goroutine uses it.
	random *rand.Rand
}

// finish answers the caller, once.
func (c *call) finish(o outcome) {
	c.process.scheduler.mu.Lock()
	defer c.process.scheduler.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.answer <- o
	}
}

// Scheduler releases one remote call at a time. It runs on the goroutine that made it;
// all others park.
type Scheduler struct {
	seed   uint64
	faults *faults
	trace  *trace

	mu    sync.Mutex // guards calls
	calls []*call
	wake  chan struct{} // has room for one

	// timers are what happens without a process, soonest first.
	timers []timer
	made   int // timers ever made
}

// timer is something that the scheduler's goroutine runs at a time.
type timer struct {
	at    time.Time
	order int
	run   func()
}

func newScheduler(seed uint64, f *faults, t *trace) *Scheduler {
	return &Scheduler{seed: seed, faults: f, trace: t, wake: make(chan struct{}, 1)}
}

// after makes a timer.
func (s *Scheduler) after(d time.Duration, run func()) {
	s.made++
	s.timers = append(s.timers, timer{time.Now().Add(d), s.made, run})
	slices.SortFunc(s.timers, func(a, b timer) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order))
	})
}

// ask makes a remote call of a process and waits for its outcome.
func ask[T any](ctx context.Context, p *Process, k kind, what string, apply func() (T, error)) (T, error) {
	o := p.do(ctx, &call{kind: k, what: what, apply: func(*call) (outcome, bool) {
		v, err := apply()
		return outcome{v, err}, true
	}})
	v, ok := o.value.(T)
	if !ok && o.err == nil {
		o.err = errLost
	}
	return v, o.err
}

// await returns the outcome of a parked call. While the process is paused its caller
// does not see that its context has ended.
func (s *Scheduler) await(ctx context.Context, c *call) outcome {
	select {
	case o := <-c.answer:
		return o
	case <-ctx.Done():
	}
	if resumed := c.process.resumedFrom(); resumed != nil {
		select {
		case o := <-c.answer:
			return o
		case <-resumed:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return <-c.answer
	}
	c.closed = true // it stays on its way, though
	return outcome{err: context.Cause(ctx)}
}

func (s *Scheduler) park(c *call) {
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sorted returns the calls in an order that does not depend on goroutines, and sets
// the time of those that are new.
func (s *Scheduler) sorted() []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.calls, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.process.name, b.process.name), cmp.Compare(a.thread, b.thread), cmp.Compare(a.seq, b.seq))
	})
	for _, c := range s.calls {
		if !c.planned {
			c.planned, c.random = true, randomFor(s.seed, fmt.Sprintf("%s %s %d", c.process.name, c.thread, c.seq))
			c.due = time.Now().Add(s.faults.latency(c))
		}
	}
	return slices.Clone(s.calls)
}

// over reports whether the caller no longer waits.
func (s *Scheduler) over(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.closed
}

func (s *Scheduler) remove(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = slices.DeleteFunc(s.calls, func(other *call) bool { return other == c })
}

// drop loses the calls of a pod's dead agents.
func (s *Scheduler) drop(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = slices.DeleteFunc(s.calls, func(c *call) bool { return c.process.owner == owner && c.closed })
}

// step runs a timer that is due, releases a call that is due, or lets time pass until
// there is one. It reports whether the guarantees must be checked.
func (s *Scheduler) step() bool {
	synctest.Wait()
	s.trace.collect()
	now := time.Now()
	if len(s.timers) > 0 && !s.timers[0].at.After(now) {
		t := s.timers[0]
		s.timers = s.timers[1:]
		t.run()
		return true
	}
	var due *call
	next := now.Add(time.Minute)
	if len(s.timers) > 0 && s.timers[0].at.Before(next) {
		next = s.timers[0].at
	}
	for _, c := range s.sorted() {
		switch {
		case c.process.resumedFrom() != nil:
		case c.due.After(now):
			next = minTime(next, c.due)
		case due == nil || c.due.Before(due.due):
			due = c
		}
	}
	if due != nil {
		s.release(due)
		return due.kind == kindWrite || due.kind == kindAWSWrite || due.kind == kindAnswer
	}
	alarm := time.NewTimer(next.Sub(now))
	defer alarm.Stop()
	select {
	case <-alarm.C:
	case <-s.wake:
	}
	// Other goroutines may wake at this instant, too. The clock does not advance before
	// they have parked.
	time.Sleep(time.Microsecond)
	return false
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// release decides the outcome of one call.
func (s *Scheduler) release(c *call) {
	if s.over(c) { // it is applied late, or was never sent
		s.remove(c)
		if c.random.IntN(4) == 0 || s.faults.denies(c) {
			s.trace.call(c, "dropped", outcome{})
			return
		}
		o, _ := c.apply(c)
		s.trace.call(c, "APPLIED LATE", o)
		s.faults.count(c.kind, late)
		return
	}
	f := s.faults.choose(c)
	s.faults.count(c.kind, f)
	if f != cut {
		s.remove(c)
	}
	switch f {
	case pass:
		o, answered := c.apply(c)
		s.trace.call(c, "", o)
		if answered {
			c.finish(o)
		}
	case refused:
		s.trace.call(c, "NOT APPLIED", outcome{})
		c.finish(outcome{err: errRefused})
	case lost:
		o, _ := c.apply(c)
		s.trace.call(c, "ANSWER LOST", o)
		c.finish(outcome{err: errLost})
	case cut:
		s.trace.call(c, "CUT", outcome{})
		c.due = time.Now().Add(flight(c))
		c.finish(outcome{err: errLost})
	case throttled:
		s.trace.call(c, "THROTTLED", outcome{})
		c.finish(c.refusal(elbemu.Throttle()))
	case failed:
		s.trace.call(c, "FAILED", outcome{})
		c.finish(c.refusal(elbemu.ServerError()))
	case denied:
		s.trace.call(c, "DENIED", outcome{})
		c.finish(c.refusal(denial()))
	case late, slow, hanging:
	}
}
