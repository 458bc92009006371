// Package inventory knows the load balancers of the pools as AWS has them now:
// which of them can be used, and which listener ports are taken there, by
// whomever.
//
// What the world may change never stops the process: a load balancer that is
// gone, of the wrong type or not fit is left out, with the reason said. The last
// answer stays in force while AWS does not answer. Pools may be exchanged at any
// time; a load balancer that no pool names any more is looked after for as long
// as somebody has a port of it.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// AWS is what the inventory asks AWS.
type AWS interface {
	// LoadBalancers gives those of the ARNs that exist.
	LoadBalancers(ctx context.Context, arns ...string) ([]elb.LoadBalancer, error)
	// NetworkLoadBalancers gives the ARNs of all there are.
	NetworkLoadBalancers(ctx context.Context) ([]string, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	ListenerLimit(ctx context.Context) (int, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
}

// Config is what an Inventory needs; all of it is required.
type Config struct {
	Ledger string
	AWS    AWS
	// Ports and Cordons are only looked at, never asked for.
	Ports   ledger.Ports
	Cordons ledger.Cordons
	Log     *slog.Logger
}

// Inventory implements claim.Pools.
type Inventory struct {
	Config

	mu    sync.Mutex
	pools []poolfile.Pool
	// limit is how many listeners a load balancer may have.
	limit int
	// selected has the load balancers that each pool's tags select.
	selected map[string][]string
	// known has load balancers by ARN; one that was never described is missing.
	known map[string]*loadBalancer
}

type loadBalancer struct {
	elb.LoadBalancer
	// unfit is why it cannot be used; empty if it can.
	unfit string
	gone  bool
	// listeners has what the last listing showed; nil before the first.
	listeners []elb.Listener
	// fences has, of those listeners, the ones that the ledger knew as bindings when
	// they were listed, by ARN.
	fences map[string]api.Fence
}

// New makes an Inventory that knows nothing yet.
func New(c Config, pools []poolfile.Pool) *Inventory {
	return &Inventory{Config: c, pools: pools, selected: make(map[string][]string), known: make(map[string]*loadBalancer)}
}

// SetPools exchanges the pools. What is new in them is used once it is described
// and listed.
func (i *Inventory) SetPools(pools []poolfile.Pool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.pools
	i.pools = pools
	// What other tags select has to be looked for anew.
	maps.DeleteFunc(i.selected, func(name string, _ []string) bool {
		same := func(p poolfile.Pool) bool {
			return p.Name == name && slices.ContainsFunc(before, func(b poolfile.Pool) bool { return b.Name == name && maps.Equal(b.Tags, p.Tags) })
		}
		return !slices.ContainsFunc(pools, same)
	})
}

// Describe asks AWS for the load balancers themselves and for the account's
// limit. It costs two calls for each load balancer at most, and where tags
// select them one more for every twenty that there are, so it is done rarely.
func (i *Inventory) Describe(ctx context.Context) error {
	limit, err := i.AWS.ListenerLimit(ctx)
	if err != nil {
		return fmt.Errorf("reading the listener limit: %w", err)
	}
	if err := i.selectByTags(ctx); err != nil {
		return err
	}
	arns := i.arns()
	described, err := i.AWS.LoadBalancers(ctx, arns...)
	if err != nil {
		return fmt.Errorf("describing load balancers: %w", err)
	}
	found := make(map[string]elb.LoadBalancer)
	for _, lb := range described {
		found[lb.ARN] = lb
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.limit = limit
	for _, arn := range arns {
		lb, exists := found[arn]
		i.noteLocked(ctx, arn, lb, exists)
	}
	maps.DeleteFunc(i.known, func(arn string, _ *loadBalancer) bool { return !slices.Contains(arns, arn) })
	return nil
}

// noteLocked takes note of what a load balancer is like, and says when it can no
// longer be used or can be used again.
func (i *Inventory) noteLocked(ctx context.Context, arn string, lb elb.LoadBalancer, exists bool) {
	known := i.known[arn]
	if known == nil {
		known = &loadBalancer{}
		i.known[arn] = known
	}
	before := known.unfit
	known.LoadBalancer, known.unfit, known.gone = lb, unfit(lb, exists), !exists
	if known.unfit != "" && known.unfit != before {
		i.Log.ErrorContext(ctx, "load balancer left out", "loadBalancer", arn, "reason", known.unfit)
	}
	if known.unfit == "" && before != "" {
		i.Log.InfoContext(ctx, "load balancer usable again", "loadBalancer", arn)
	}
}

// unfit says why a load balancer cannot serve.
func unfit(lb elb.LoadBalancer, exists bool) string {
	switch {
	case !exists:
		return "it does not exist: remove it from the pool or create it"
	case lb.Type != elb.TypeNetwork:
		return fmt.Sprintf("it is of type %s: only network load balancers can be used", lb.Type)
	case lb.State != elb.StateActive:
		return fmt.Sprintf("it is %s: wait until it is active", lb.State)
	case !lb.CrossZone:
		// With one target a target group is empty in all other zones, and a zone
		// with an empty target group falls out of DNS.
		return "cross-zone load balancing is off: set load_balancing.cross_zone.enabled=true"
	}
	return ""
}

// selectByTags asks which load balancers the pools' tags select.
func (i *Inventory) selectByTags(ctx context.Context) error {
	i.mu.Lock()
	pools := slices.Clone(i.pools)
	i.mu.Unlock()
	pools = slices.DeleteFunc(pools, func(p poolfile.Pool) bool { return len(p.Tags) == 0 })
	if len(pools) == 0 {
		return nil
	}
	all, err := i.AWS.NetworkLoadBalancers(ctx)
	if err != nil {
		return fmt.Errorf("looking for load balancers by tags: %w", err)
	}
	tags, err := i.AWS.Tags(ctx, all...)
	if err != nil {
		return fmt.Errorf("looking for load balancers by tags: %w", err)
	}
	selected := make(map[string][]string)
	for _, p := range pools {
		selected[p.Name] = nil
		for _, arn := range all {
			if carries(tags[arn], p.Tags) {
				selected[p.Name] = append(selected[p.Name], arn)
			}
		}
		if len(selected[p.Name]) == 0 {
			i.Log.WarnContext(ctx, "no load balancer carries the tags of a pool", "pool", p.Name, "tags", p.Tags)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.selected = selected
	return nil
}

func carries(tags, want map[string]string) bool {
	for key, value := range want {
		if got, ok := tags[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// arns are the load balancers of all pools, and those of which somebody still
// has a port.
func (i *Inventory) arns() []string {
	i.mu.Lock()
	var arns []string
	for _, p := range i.pools {
		arns = append(arns, i.membersLocked(p)...)
	}
	i.mu.Unlock()
	for _, r := range i.Ports.CachedAll() {
		if r.Value.Held() {
			arns = append(arns, r.Value.LoadBalancerARN)
		}
	}
	slices.Sort(arns)
	return slices.Compact(arns)
}

// membersLocked are the load balancers of one pool: those it names, in its
// order, and those that its tags select.
func (i *Inventory) membersLocked(p poolfile.Pool) []string {
	members := slices.Clone(p.LoadBalancers)
	for _, arn := range i.selected[p.Name] {
		if !slices.Contains(members, arn) {
			members = append(members, arn)
		}
	}
	return members
}

// List lists the listeners of every load balancer of the pools, a call for each
// 400. A load balancer that could not be listed is missing from the answer, and
// its error is joined to the others'.
func (i *Inventory) List(ctx context.Context) (map[string][]elb.Listener, error) {
	listed := make(map[string][]elb.Listener)
	var errs []error
	for _, arn := range i.arns() {
		listeners, err := i.Listeners(ctx, arn)
		if errors.Is(err, elb.ErrThrottled) {
			return listed, errors.Join(append(errs, err)...) // asking on would only throttle others
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		listed[arn] = listeners
	}
	return listed, errors.Join(errs...)
}

// Listeners lists one load balancer and remembers what it saw. One that is gone
// has no listeners.
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
		i.noteLocked(ctx, arn, elb.LoadBalancer{}, false)
	}
	if known := i.known[arn]; known != nil {
		known.listeners, known.fences = append([]elb.Listener{}, listeners...), i.fences(arn, listeners)
	}
	return listeners, nil
}

// fences finds the holdings that listeners belong to. A target group is recorded
// before there is a listener for it.
func (i *Inventory) fences(arn string, listeners []elb.Listener) map[string]api.Fence {
	found := make(map[string]api.Fence)
	for _, l := range listeners {
		name := ledger.PortName(ledger.LoadBalancerID(arn), l.Port)
		port, exists := i.Ports.Cached(name)
		if exists && port.Value.TargetGroupARN != "" && slices.Contains(l.TargetGroupARNs, port.Value.TargetGroupARN) {
			found[l.ARN] = port.Value.Fence(name)
		}
	}
	return found
}

// inLedger tells whether the ledger knows better than a listing whether a listener
// is there: it had it, and its record was not lost since. The ledger calls no port
// free before the listener of its holding is gone, and who stands by lists so
// rarely that ports would seem taken for minutes.
func (i *Inventory) inLedger(lb *loadBalancer, l elb.Listener) bool {
	then, known := lb.fences[l.ARN]
	if !known {
		return false
	}
	now, exists := i.Ports.Cached(then.Lease)
	return exists && now.Value.Epoch == then.Epoch && now.Value.Generation >= then.Generation
}
