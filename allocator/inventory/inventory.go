// Package inventory knows the load balancers of the pools as AWS has them now:
// which of them can be used, and which listener ports are taken there, by
// whomever.
//
// What the world may change never stops the process: a load balancer that is
// gone, of the wrong type or not fit is left out, with the reason said. The last
// answer stays in force while AWS does not answer.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/portpool"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Pool is a pool as the operator wrote it down.
type Pool struct {
	Name string
	// LoadBalancers are ARNs.
	LoadBalancers []string
	Ranges        []portpool.Range
}

// AWS is what the inventory asks AWS.
type AWS interface {
	LoadBalancers(ctx context.Context, arns ...string) ([]elb.LoadBalancer, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	ListenerLimit(ctx context.Context) (int, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
}

// Inventory implements claim.Pools.
type Inventory struct {
	ledger string
	pools  []Pool
	aws    AWS
	log    *slog.Logger

	mu sync.Mutex
	// limit is how many listeners a load balancer may have.
	limit int
	// known has load balancers by ARN; one that was never described is missing.
	known map[string]*loadBalancer
}

type loadBalancer struct {
	elb.LoadBalancer
	// unfit is why it cannot be used; empty if it can.
	unfit string
	// listeners has what the last listing showed; nil before the first.
	listeners []elb.Listener
}

// New makes an Inventory that knows nothing yet.
func New(ledgerID string, pools []Pool, aws AWS, log *slog.Logger) *Inventory {
	return &Inventory{ledger: ledgerID, pools: pools, aws: aws, log: log, known: make(map[string]*loadBalancer)}
}

// Describe asks AWS for the load balancers themselves and for the account's
// limit. It costs two calls for each load balancer at most, so it is done rarely.
func (i *Inventory) Describe(ctx context.Context) error {
	limit, err := i.aws.ListenerLimit(ctx)
	if err != nil {
		return fmt.Errorf("reading the listener limit: %w", err)
	}
	arns := i.arns()
	described, err := i.aws.LoadBalancers(ctx, arns...)
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
		known := i.known[arn]
		if known == nil {
			known = &loadBalancer{}
			i.known[arn] = known
		}
		before := known.unfit
		known.LoadBalancer, known.unfit = lb, unfit(lb, exists)
		if known.unfit != "" && known.unfit != before {
			i.log.ErrorContext(ctx, "load balancer left out", "loadBalancer", arn, "reason", known.unfit)
		}
		if known.unfit == "" && before != "" {
			i.log.InfoContext(ctx, "load balancer usable again", "loadBalancer", arn)
		}
	}
	return nil
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

func (i *Inventory) arns() []string {
	var arns []string
	for _, p := range i.pools {
		for _, arn := range p.LoadBalancers {
			if !slices.Contains(arns, arn) {
				arns = append(arns, arn)
			}
		}
	}
	return arns
}

// List lists the listeners of every load balancer of the pools, a call for each
// 400. A load balancer that could not be listed is missing from the answer, and
// its error is joined to the others'.
func (i *Inventory) List(ctx context.Context) (map[string][]elb.Listener, error) {
	listed := make(map[string][]elb.Listener)
	var errs []error
	for _, arn := range i.arns() {
		listeners, err := i.Listeners(ctx, arn)
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
	listeners, err := i.aws.Listeners(ctx, arn)
	if errors.Is(err, elb.ErrLoadBalancerGone) {
		listeners, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing listeners of %s: %w", arn, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if known := i.known[arn]; known != nil {
		known.listeners = append([]elb.Listener{}, listeners...)
	}
	return listeners, nil
}

// Names implements claim.Pools.
func (i *Inventory) Names() []string {
	names := make([]string, 0, len(i.pools))
	for _, p := range i.pools {
		names = append(names, p.Name)
	}
	return names
}

// Pool implements claim.Pools. A load balancer whose listeners have not been
// listed yet is left out, because any of its ports may be taken.
func (i *Inventory) Pool(name string) (claim.Pool, bool) {
	at := slices.IndexFunc(i.pools, func(p Pool) bool { return p.Name == name })
	if at < 0 {
		return claim.Pool{}, false
	}
	pool := claim.Pool{Name: name}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, arn := range i.pools[at].LoadBalancers {
		known := i.known[arn]
		switch {
		case known == nil || known.unfit == "" && known.listeners == nil:
			pool.LeftOut = append(pool.LeftOut, arn+" (not read from AWS yet)")
		case known.unfit != "":
			pool.LeftOut = append(pool.LeftOut, arn+" ("+known.unfit+")")
		default:
			lb := claim.LoadBalancer{
				LoadBalancer: api.LoadBalancer{ARN: arn, Host: known.Host, VPC: known.VPC},
				Ranges:       i.pools[at].Ranges, Limit: i.limit, Seen: make(map[int]bool),
			}
			for _, l := range known.listeners {
				lb.Seen[l.Port] = true
			}
			pool.LoadBalancers = append(pool.LoadBalancers, lb)
		}
	}
	return pool, true
}

// Unfit gives the load balancers that are left out, ARN → reason.
func (i *Inventory) Unfit() map[string]string {
	out := make(map[string]string)
	i.mu.Lock()
	defer i.mu.Unlock()
	for arn, known := range i.known {
		if known.unfit != "" {
			out[arn] = known.unfit
		}
	}
	return out
}

// TargetGroupsAt implements claim.Pools.
func (i *Inventory) TargetGroupsAt(ctx context.Context, loadBalancerARN string, port int) ([]string, bool, error) {
	listeners, err := i.Listeners(ctx, loadBalancerARN)
	if err != nil {
		return nil, false, err
	}
	for _, l := range listeners {
		if l.Port == port {
			return l.TargetGroupARNs, true, nil
		}
	}
	return nil, false, nil
}

// Proof implements claim.Pools.
func (i *Inventory) Proof(ctx context.Context, listenerARN string) (claim.Proof, error) {
	if listenerARN == "" {
		return claim.Proof{}, nil
	}
	all, err := i.aws.Tags(ctx, listenerARN)
	if err != nil {
		return claim.Proof{}, fmt.Errorf("reading the tags of %s: %w", listenerARN, err)
	}
	tags, ours := elb.ReadTags(all[listenerARN])
	if !ours || tags.Ledger != i.ledger {
		return claim.Proof{}, nil
	}
	return claim.Proof{PodUID: tags.PodUID, Fence: tags.Fence()}, nil
}
