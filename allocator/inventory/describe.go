package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/portlease/portlease/shared/elb"
)

const (
	// crossZonePasses is in how many passes of Describe the cross-zone attributes of all
	// load balancers are read once. Each costs a call, and they hardly ever change.
	crossZonePasses = 12
	// maxThrottled is how many throttled calls end a pass. The AWS budget slows down with
	// each, and the next pass continues with what is missing.
	maxThrottled = 3
)

// Describe reads the load balancers and the account's limits from AWS. What was
// read before a call failed is kept. A new load balancer is also listed, so it can be used
// before the others are read.
//
// A pass over n load balancers makes 1 + n/20 + n/12 calls, and two for each new one. With
// tags it makes one more for every twenty load balancers of the account.
func (i *Inventory) Describe(ctx context.Context) error {
	p := pass{Inventory: i}
	limits, err := i.AWS.Limits(ctx)
	if err != nil {
		p.failed(err)
	} else {
		i.setLimits(limits)
	}
	p.failed(i.selectByTags(ctx))
	due := i.startPass()
	for chunk := range slices.Chunk(i.unreadFirst(), elb.DescribeLimit) {
		if p.over(ctx) {
			break
		}
		p.describe(ctx, chunk)
		i.each(chunk, func(arn string) { p.read(ctx, arn, due[arn]) })
	}
	if ctx.Err() != nil {
		p.failed(fmt.Errorf("describing load balancers: %w", context.Cause(ctx)))
	}
	return errors.Join(p.errs...)
}

// FirstReads is how many calls Describe makes for load balancers that are all new and named
// by ARN.
func FirstReads(loadBalancers int) int {
	return 1 + elb.DescribeCalls(loadBalancers) + 2*loadBalancers
}

// each calls do for every load balancer, Parallel at a time.
func (i *Inventory) each(arns []string, do func(arn string)) {
	if i.Parallel < 2 {
		for _, arn := range arns {
			do(arn)
		}
		return
	}
	slots := make(chan struct{}, i.Parallel)
	var all sync.WaitGroup
	for _, arn := range arns {
		slots <- struct{}{}
		all.Go(func() {
			do(arn)
			<-slots
		})
	}
	all.Wait()
}

func (i *Inventory) setLimits(limits elb.Limits) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if limits != i.limits {
		i.changedLocked()
	}
	i.limits = limits
}

// Limits are the account's limits as they were read last; zero before that.
func (i *Inventory) Limits() elb.Limits {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.limits
}

// startPass forgets load balancers that neither a pool nor a held port names. It gives those
// whose cross-zone attribute is due: a twelfth, those that were read the longest ago.
func (i *Inventory) startPass() (due map[string]bool) {
	arns := i.arns()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changedLocked()
	maps.DeleteFunc(i.known, func(arn string, _ *loadBalancer) bool {
		_, named := slices.BinarySearch(arns, arn)
		return !named
	})
	for _, known := range i.known {
		known.crossZoneAge++
	}
	oldest := slices.SortedFunc(maps.Keys(i.known), func(a, b string) int {
		return cmp.Or(cmp.Compare(i.known[b].crossZoneAge, i.known[a].crossZoneAge), cmp.Compare(a, b))
	})
	due = make(map[string]bool)
	for _, arn := range oldest[:(len(oldest)+crossZonePasses-1)/crossZonePasses] {
		due[arn] = true
	}
	return due
}

// unreadFirst gives the load balancers to describe. Those that cannot be used before they
// are read come first, in the order of the pool file.
func (i *Inventory) unreadFirst() []string {
	rest := i.arns()
	i.mu.Lock()
	defer i.mu.Unlock()
	var unread []string
	first := make(map[string]bool)
	for _, p := range i.pools {
		for _, arn := range i.membersLocked(p) {
			if known := i.known[arn]; (known == nil || known.unread()) && !first[arn] {
				unread, first[arn] = append(unread, arn), true
			}
		}
	}
	return append(unread, slices.DeleteFunc(rest, func(arn string) bool { return first[arn] })...)
}

// Unread is how many load balancers of the pools cannot be used before they are read.
func (i *Inventory) Unread() (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range i.pools {
		for _, arn := range i.membersLocked(p) {
			if known := i.known[arn]; known == nil || known.unread() {
				n++
			}
		}
	}
	return n
}

// pass is one pass of Describe.
type pass struct {
	*Inventory
	throttled atomic.Int32

	errsMu sync.Mutex // guards errs
	errs   []error
}

// failed keeps an error; nil is none.
func (p *pass) failed(err error) {
	if err == nil {
		return
	}
	if errors.Is(err, elb.ErrThrottled) {
		p.throttled.Add(1)
	}
	p.errsMu.Lock()
	defer p.errsMu.Unlock()
	p.errs = append(p.errs, err)
}

// over reports whether further calls would only fail, or throttle others.
func (p *pass) over(ctx context.Context) bool {
	return ctx.Err() != nil || p.throttled.Load() >= maxThrottled
}

// describe describes load balancers. One that a failed call does not return may exist.
func (p *pass) describe(ctx context.Context, arns []string) {
	described, err := p.AWS.LoadBalancers(ctx, arns...)
	if err != nil {
		p.failed(fmt.Errorf("describing load balancers: %w", err))
	}
	found := make(map[string]elb.LoadBalancer, len(described))
	for _, lb := range described {
		found[lb.ARN] = lb
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, arn := range arns {
		if lb, exists := found[arn]; exists || err == nil {
			p.recordLocked(ctx, arn, lb, exists)
		}
	}
}

// read reads what else is due of a described load balancer: its cross-zone attribute, and
// its listeners if it is new.
func (p *pass) read(ctx context.Context, arn string, attributeDue bool) {
	attribute, listeners := p.missing(arn, attributeDue)
	if attribute && !p.over(ctx) {
		p.failed(p.readCrossZone(ctx, arn))
	}
	if listeners && !p.over(ctx) {
		_, err := p.Listeners(ctx, arn)
		p.failed(err)
	}
}

// missing reports what to read of a load balancer that is or may be usable.
func (i *Inventory) missing(arn string, attributeDue bool) (attribute, listeners bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.known[arn]
	if known == nil || known.unusable != (reason{}) && !known.crossZoneOff() {
		return false, false
	}
	return attributeDue || !known.crossZoneKnown || known.crossZoneOff(), known.listeners == nil
}

func (i *Inventory) readCrossZone(ctx context.Context, arn string) error {
	on, err := i.AWS.CrossZone(ctx, arn)
	gone := errors.Is(err, elb.ErrLoadBalancerGone)
	if err != nil && !gone {
		return fmt.Errorf("reading the attributes of %s: %w", arn, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.known[arn]
	switch {
	case known == nil:
	case gone:
		i.recordLocked(ctx, arn, elb.LoadBalancer{}, false)
	default:
		known.crossZone, known.crossZoneKnown, known.crossZoneAge = on, true, 0
		i.judgeLocked(ctx, arn)
	}
	return nil
}

// recordLocked records a described load balancer.
func (i *Inventory) recordLocked(ctx context.Context, arn string, lb elb.LoadBalancer, exists bool) {
	known := i.known[arn]
	if known == nil {
		known = &loadBalancer{}
		i.known[arn] = known
	}
	known.LoadBalancer, known.gone = lb, !exists
	i.judgeLocked(ctx, arn)
}

// judgeLocked decides whether a load balancer can be used, and logs when that changes.
func (i *Inventory) judgeLocked(ctx context.Context, arn string) {
	i.changedLocked()
	known := i.known[arn]
	before := known.unusable
	known.unusable = known.whyUnusable()
	if known.unusable != (reason{}) && known.unusable != before {
		i.Log.ErrorContext(ctx, "load balancer left out", "loadBalancer", arn, "reason", known.unusable.text)
	}
	if known.unusable == (reason{}) && before != (reason{}) {
		i.Log.InfoContext(ctx, "load balancer usable again", "loadBalancer", arn)
	}
}

// whyUnusable returns why a load balancer cannot be used; zero if it can, as far as it was
// read.
func (lb *loadBalancer) whyUnusable() reason {
	switch {
	case lb.gone:
		return reason{"gone", "it does not exist: remove it from the pool or create it"}
	case lb.Type != elb.TypeNetwork:
		return reason{"wrong_type", fmt.Sprintf("it is of type %s: only network load balancers can be used", lb.Type)}
	case lb.State != elb.StateActive:
		return reason{"not_active", fmt.Sprintf("it is %s: wait until it is active", lb.State)}
	case lb.crossZoneOff():
		// A target group with one target is empty in all other zones, and AWS removes a
		// zone with an empty target group from DNS.
		return reason{"cross_zone_off", "cross-zone load balancing is off: set load_balancing.cross_zone.enabled=true"}
	}
	return reason{}
}

func (lb *loadBalancer) crossZoneOff() bool { return lb.crossZoneKnown && !lb.crossZone }

// unread reports whether it cannot be used only because something was not read yet.
func (lb *loadBalancer) unread() bool {
	return lb.unusable == (reason{}) && (!lb.crossZoneKnown || lb.listeners == nil)
}
