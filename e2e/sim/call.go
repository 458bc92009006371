package sim

import (
	"math/rand/v2"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
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
	// due is when it arrives, and place where it is in the queue; -1 while its process is
	// paused.
	due   time.Time
	place int
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
