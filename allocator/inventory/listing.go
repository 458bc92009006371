package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/elb"
)

// List lists the listeners of every load balancer of the pools, with one call per 400
// listeners. A load balancer that could not be listed is missing from the answer, and
// its error is joined to the others.
func (i *Inventory) List(ctx context.Context) (map[string][]elb.Listener, error) {
	var mu sync.Mutex // guards all below
	listed, throttled := make(map[string][]elb.Listener), false
	var errs []error
	i.each(i.arns(), func(arn string) {
		mu.Lock()
		stop := throttled
		mu.Unlock()
		if stop {
			return // more calls would only throttle others
		}
		listeners, err := i.Listeners(ctx, arn)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs, throttled = append(errs, err), throttled || errors.Is(err, elb.ErrThrottled)
			return
		}
		listed[arn] = listeners
	})
	return listed, errors.Join(errs...)
}

// Listeners lists the listeners of one load balancer and records them. A load balancer
// that is gone has none.
func (i *Inventory) Listeners(ctx context.Context, arn string) ([]elb.Listener, error) {
	listeners, err := i.AWS.Listeners(ctx, arn)
	gone := errors.Is(err, elb.ErrLoadBalancerGone)
	if gone {
		listeners, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing listeners of %s: %w", arn, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if gone {
		i.recordLocked(ctx, arn, elb.LoadBalancer{}, false)
	}
	if known := i.known[arn]; known != nil {
		known.listeners, known.listed = append([]elb.Listener{}, listeners...), i.listed(arn, listeners)
		i.changedLocked()
	}
	return listeners, nil
}

// listed are listeners with the fences that the ledger knows. A target group is recorded
// before its listener is created. A port is never free in the ledger before its listener is
// gone, so the ledger is more up to date than the listing from then on. Replicas that do
// not lead list so rarely that ports would otherwise seem occupied for minutes.
func (i *Inventory) listed(arn string, listeners []elb.Listener) []pool.Listed {
	all := make([]pool.Listed, 0, len(listeners))
	for _, l := range listeners {
		name := ledger.PortName(ledger.LoadBalancerID(arn), l.Port)
		found := pool.Listed{Port: l.Port}
		port, exists := i.Ports.Cached(name)
		if exists && port.Value.TargetGroupARN != "" && slices.Contains(l.TargetGroupARNs, port.Value.TargetGroupARN) {
			found.Fence = port.Value.Fence(name)
		}
		all = append(all, found)
	}
	return all
}
