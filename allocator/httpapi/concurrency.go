package httpapi

import (
	"sync"
	"time"

	"github.com/portlease/portlease/shared/api"
)

const (
	// callsPerAddress is how many calls one address may have in progress. A pod has one
	// or two; a proxy in front of many pods has more.
	callsPerAddress = 32
	// callsPerPod is how many calls one pod may have in progress, wherever they come from.
	// An agent has two at most.
	callsPerPod = 4
)

// concurrency bounds how many calls each caller has in progress.
type concurrency struct {
	limit int
	// callers says whose calls are counted, in errors.
	callers string

	mu sync.Mutex
	// calls is caller → its calls in progress.
	calls map[string]int
}

func newConcurrency(limit int, callers string) *concurrency {
	return &concurrency{limit: limit, callers: callers, calls: make(map[string]int)}
}

// enter begins a call of a caller; leave ends it.
func (c *concurrency) enter(caller string) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[caller] >= c.limit {
		return nil, api.Errorf(api.RateLimited, "more than %d calls %s in progress: wait for their answers", c.limit, c.callers).WithRetryAfter(time.Second)
	}
	c.calls[caller]++
	return func() { c.leave(caller) }, nil
}

func (c *concurrency) leave(caller string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[caller]--; c.calls[caller] == 0 {
		delete(c.calls, caller)
	}
}
