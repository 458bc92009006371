package sim

import (
	"context"
	"sync"
	"testing/synctest"
	"time"
)

// Process is one running agent or allocator replica. It can be killed and paused as a
// whole.
type Process struct {
	name string
	// owner is the UID of an agent's pod; empty for a replica.
	owner     string
	scheduler *Scheduler
	ctx       context.Context // ends when the process is told to stop, or killed
	stop      context.CancelFunc
	killed    chan struct{}
	// calls are on their way; only the scheduler's goroutine uses them.
	calls map[*call]bool

	// main and reviews are the Kubernetes clients of a replica; nil for no limits.
	main, reviews *gate

	mu      sync.Mutex // guards all below
	dead    bool
	resumed chan struct{} // nil while it runs; closed when it is resumed
	seqs    counter       // calls made by each thread
}

func newProcess(s *Scheduler, name string) *Process {
	ctx, stop := context.WithCancel(context.Background())
	return &Process{name: name, scheduler: s, ctx: ctx, stop: stop, killed: make(chan struct{}), calls: make(map[*call]bool)}
}

// threadKey is the key of the thread's name in a context.
type threadKey struct{}

// onThread names the goroutine that works with this context.
func onThread(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, threadKey{}, name)
}

func threadOf(ctx context.Context) string {
	name, _ := ctx.Value(threadKey{}).(string)
	return name
}

// do parks a call and waits for its outcome.
func (p *Process) do(ctx context.Context, c *call) outcome {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return outcome{err: errKilled}
	}
	c.process, c.thread, c.answer = p, threadOf(ctx), make(chan outcome, 1)
	c.seq = p.seqs.next(c.thread)
	p.mu.Unlock()
	p.scheduler.park(c)
	return p.scheduler.await(ctx, c)
}

func (p *Process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead
}

// resumedFrom returns a channel that is closed at the end of the present pause; nil if
// there is none.
func (p *Process) resumedFrom() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resumed
}

// kill ends a process at once. Its calls on the way may arrive or not.
func (p *Process) kill() {
	p.resume()
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	s := p.scheduler
	for _, c := range s.callsOf(p) {
		if c.kind == kindAnswer || c.random.IntN(2) == 0 {
			s.remove(c)
		} else if !s.over(c) {
			s.delay(c, flight(c))
		}
		c.finish(outcome{err: errKilled})
	}
	close(p.killed)
	p.stop()
}

// pause stops a process, as a suspended machine does.
func (p *Process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resumed == nil {
		p.resumed = make(chan struct{})
	}
}

// resume continues a paused process. A call that it was about to make may still go
// out, although its deadline has passed.
func (p *Process) resume() {
	resumed := p.resumedFrom()
	if resumed == nil {
		return
	}
	s := p.scheduler
	for _, c := range s.callsOf(p) {
		if !s.over(c) && c.kind != kindAnswer && c.random.IntN(2) == 0 {
			s.release(c)
			synctest.Wait()
		}
	}
	p.mu.Lock()
	p.resumed = nil
	p.mu.Unlock()
	s.goOn(p)
	close(resumed)
}

// sleep is time.Sleep of a process; killing the process ends it.
func (p *Process) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.killed:
		return errKilled
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
