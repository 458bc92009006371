// Package alternatives gives the pods of a fleet their listeners in other ways than
// portlease does, on the same emulated AWS with its buckets and delays.
//
// The alternatives need no Kubernetes here: they know their pods, and every one that
// chooses no ports itself is given the right ones. That is better than they could do.
package alternatives

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Alternative is one way.
type Alternative struct {
	Name string
	// Settings are those that matter for its speed.
	Settings string
	// oneLoadBalancer makes it use one load balancer with as many listeners as there are
	// pods, which AWS does not allow.
	oneLoadBalancer bool
	run             func(fleet) runner
}

// All are all alternatives.
func All() []Alternative { return []Alternative{Operator(), Standard(), Adaptive(), Controller()} }

// runner starts and stops a fleet. Both return when all pods are done or ctx ends.
type runner interface {
	start(ctx context.Context)
	stop(ctx context.Context)
}

// fleet is what an alternative works on.
type fleet struct {
	account *account
	pods    []*pod
	times   *times
}

// times are when pods were bound.
type times struct {
	mu          sync.Mutex
	began, last time.Time
	// bound are the numbers of those that are.
	bound map[int]bool
}

// each calls do for all pods at once.
func (f fleet) each(do func(*pod)) {
	var all sync.WaitGroup
	for _, p := range f.pods {
		all.Go(func() { do(p) })
	}
	all.Wait()
}

// bound records that a pod has its listener.
func (f fleet) bound(p *pod) {
	f.times.mu.Lock()
	defer f.times.mu.Unlock()
	f.times.last, f.times.bound[p.number] = time.Now(), true
}

// Result is what became of a fleet.
type Result struct {
	// Start is the time until the last pod was bound; patience, if some were not. Failed is
	// how many were not.
	Start  time.Duration
	Failed int
	// Calls and Throttled are those to AWS of the start.
	Calls, Throttled int
	// Stop is the time until the alternative was done with all deletions that it tries, or
	// patience. Leftovers are the listeners and target groups that are there after it.
	Stop      time.Duration
	Leftovers int
}

// listenersEach is AWS's quota of a load balancer.
const listenersEach = 50

// newFleet makes an account, and pods that nothing was done for yet.
func newFleet(ctx context.Context, a Alternative, pods int) (f fleet, err error) {
	each := listenersEach
	if a.oneLoadBalancer {
		each = max(each, pods)
	}
	f = fleet{times: &times{bound: make(map[int]bool)}}
	if f.account, err = newAccount(ctx, pods, each); err != nil {
		return f, err
	}
	for i := range pods {
		f.pods = append(f.pods, &pod{number: i, loadBalancer: f.account.loadBalancers[i/each], listenerPort: firstPort + i%each})
	}
	return f, nil
}

// Start starts a fleet, for no longer than patience, and gives the function that stops it.
func Start(ctx context.Context, a Alternative, pods int, patience time.Duration) (r Result, stop func(patience time.Duration) (Result, error), err error) {
	f, err := newFleet(ctx, a, pods)
	if err != nil {
		return r, nil, err
	}
	run := a.run(f)
	f.times.began = time.Now()
	within(ctx, patience, run.start)
	if ctx.Err() != nil {
		return r, nil, fmt.Errorf("starting a fleet: %w", context.Cause(ctx))
	}
	r.Calls, r.Throttled = f.account.calls()
	r.Failed = pods - len(f.times.bound)
	if r.Start = f.times.last.Sub(f.times.began); r.Failed > 0 {
		r.Start = patience
	}
	return r, func(patience time.Duration) (Result, error) {
		began := time.Now()
		within(ctx, patience, run.stop)
		if ctx.Err() != nil {
			return r, fmt.Errorf("stopping a fleet: %w", context.Cause(ctx))
		}
		r.Stop, r.Leftovers = time.Since(began), f.account.leftovers()
		return r, nil
	}, nil
}

func within(ctx context.Context, patience time.Duration, do func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	do(ctx)
}
