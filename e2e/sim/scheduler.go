package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// Scheduler releases one remote call at a time. It runs on the goroutine that made it;
// all others park.
type Scheduler struct {
	seed   uint64
	faults *faults
	trace  *trace

	wake chan struct{} // has room for one

	mu sync.Mutex // guards parked
	// parked are the calls that the scheduler has not seen yet.
	parked []*call

	// All below belongs to the scheduler's goroutine. calls are on their way, and timers
	// are what happens without a process; both soonest first.
	calls  queue[*call]
	timers queue[timer]
	made   int // timers ever made
}

func newScheduler(seed uint64, f *faults, t *trace) *Scheduler {
	return &Scheduler{seed: seed, faults: f, trace: t, wake: make(chan struct{}, 1), calls: newCalls(), timers: newTimers()}
}

// after makes a timer.
func (s *Scheduler) after(d time.Duration, run func()) {
	s.made++
	s.timers.add(timer{time.Now().Add(d), s.made, run})
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
	s.parked = append(s.parked, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// plan sets when the new calls arrive, in an order that does not depend on goroutines.
func (s *Scheduler) plan() {
	s.mu.Lock()
	parked := s.parked
	s.parked = nil
	s.mu.Unlock()
	slices.SortFunc(parked, byName)
	for _, c := range parked {
		c.random = randomFor(s.seed, fmt.Sprintf("%s %s %d", c.process.name, c.thread, c.seq))
		takes := s.faults.latency(c)
		if c.due = time.Now().Add(takes); c.process.gateOf(c.kind) != nil {
			c.due = c.process.gateOf(c.kind).admit(time.Now(), takes)
		}
		c.process.calls[c] = true
		s.calls.add(c)
	}
}

// callsOf returns the calls of a process.
func (s *Scheduler) callsOf(p *Process) []*call {
	s.plan()
	return slices.SortedFunc(maps.Keys(p.calls), byName)
}

// over reports whether the caller no longer waits.
func (s *Scheduler) over(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.closed
}

func (s *Scheduler) remove(c *call) {
	delete(c.process.calls, c)
	if c.place >= 0 {
		s.calls.remove(c.place)
	}
}

// delay makes a call arrive later, or earlier.
func (s *Scheduler) delay(c *call, d time.Duration) {
	s.remove(c)
	c.due = time.Now().Add(d)
	c.process.calls[c] = true
	s.calls.add(c)
}

// hold takes a call of a paused process out of the queue until goOn.
func (s *Scheduler) hold(c *call) { s.calls.remove(c.place) }

// goOn puts the calls of a process back.
func (s *Scheduler) goOn(p *Process) {
	for c := range p.calls {
		if c.place < 0 {
			s.calls.add(c)
		}
	}
}

// drop loses the calls of a pod's dead agents.
func (s *Scheduler) drop(owner string) {
	s.plan()
	for _, c := range slices.Clone(s.calls.all) {
		if c.process.owner == owner && s.over(c) {
			s.remove(c)
		}
	}
}

// nextCall is the call that arrives first; nil if there is none.
func (s *Scheduler) nextCall() *call {
	for {
		c, ok := s.calls.first()
		if !ok || c.process.resumedFrom() == nil {
			return c
		}
		s.hold(c)
	}
}

// step runs a timer that is due, releases a call that is due, or lets time pass until
// there is one. It reports whether the guarantees must be checked.
func (s *Scheduler) step() bool {
	synctest.Wait()
	s.trace.collect()
	now := time.Now()
	next := now.Add(time.Minute)
	if t, ok := s.timers.first(); ok {
		if !t.at.After(now) {
			s.timers.remove(0)
			t.run()
			return true
		}
		next = minTime(next, t.at)
	}
	s.plan()
	if c := s.nextCall(); c != nil {
		if !c.due.After(now) {
			s.release(c)
			return c.kind == kindWrite || c.kind == kindAWSWrite || c.kind == kindAnswer
		}
		next = minTime(next, c.due)
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
		s.delay(c, flight(c))
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
