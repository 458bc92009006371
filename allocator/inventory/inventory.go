// Package inventory knows the load balancers of the pools as AWS has them now: which
// of them can be used, and which listener ports are occupied, whoever made the
// listeners.
//
// Nothing that changes in AWS stops the process. A load balancer that is gone, or of
// the wrong type or state, is left out, with the reason. The last answer stays valid
// while AWS does not answer. Pools may be replaced at any time; a load balancer that no
// pool names any more is still listed while a claim holds a port on it.
package inventory

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/elb"
)

// AWS is what the inventory reads from AWS.
type AWS interface {
	// LoadBalancers returns those of the ARNs that exist.
	LoadBalancers(ctx context.Context, arns ...string) ([]elb.LoadBalancer, error)
	// NetworkLoadBalancers returns the ARNs of all there are.
	NetworkLoadBalancers(ctx context.Context) ([]string, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	ListenerLimit(ctx context.Context) (int, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
}

// Config is what an Inventory needs; all of it is required.
type Config struct {
	Ledger string
	AWS    AWS
	// Ports and Cordons are read from the cache only.
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
	// known has load balancers by ARN. A load balancer that was never described is
	// missing.
	known map[string]*loadBalancer
	// snapshots are the answers of Pool, as long as nothing has changed.
	snapshots map[string]snapshot
}

// snapshot is a pool as Pool returns it.
type snapshot struct {
	pool.Pool
	// cordons are those that it shows.
	cordons []*ledger.Record[ledger.Cordon]
}

// changedLocked forgets the snapshots. Whoever changes what Pool shows calls it.
func (i *Inventory) changedLocked() { clear(i.snapshots) }

type loadBalancer struct {
	elb.LoadBalancer
	// unusable is why it cannot be used; empty if it can.
	unusable string
	gone     bool
	// listeners are those of the last listing; nil before the first.
	listeners []elb.Listener
	// listed are the same for Pool.
	listed []pool.Listed
}

// New makes an Inventory that has read nothing yet.
func New(c Config, pools []poolfile.Pool) *Inventory {
	return &Inventory{Config: c, pools: pools, selected: make(map[string][]string), known: make(map[string]*loadBalancer), snapshots: make(map[string]snapshot)}
}

// SetPools replaces the pools. A new load balancer is used once it is described and
// listed.
func (i *Inventory) SetPools(pools []poolfile.Pool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.pools
	i.pools = pools
	i.changedLocked()
	// Changed tags have to be selected by again.
	maps.DeleteFunc(i.selected, func(name string, _ []string) bool {
		same := func(p poolfile.Pool) bool {
			return p.Name == name && slices.ContainsFunc(before, func(b poolfile.Pool) bool { return b.Name == name && maps.Equal(b.Tags, p.Tags) })
		}
		return !slices.ContainsFunc(pools, same)
	})
}

// Describe reads the load balancers and the account's listener limit from AWS. It
// costs at most two calls per load balancer, and with tags one more for every twenty
// load balancers of the account, so it is done rarely.
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
	i.changedLocked()
	for _, arn := range arns {
		lb, exists := found[arn]
		i.recordLocked(ctx, arn, lb, exists)
	}
	maps.DeleteFunc(i.known, func(arn string, _ *loadBalancer) bool { return !slices.Contains(arns, arn) })
	return nil
}

// recordLocked records a described load balancer. It logs when one can no longer be
// used, or can be used again.
func (i *Inventory) recordLocked(ctx context.Context, arn string, lb elb.LoadBalancer, exists bool) {
	i.changedLocked()
	known := i.known[arn]
	if known == nil {
		known = &loadBalancer{}
		i.known[arn] = known
	}
	before := known.unusable
	known.LoadBalancer, known.unusable, known.gone = lb, whyUnusable(lb, exists), !exists
	if known.unusable != "" && known.unusable != before {
		i.Log.ErrorContext(ctx, "load balancer left out", "loadBalancer", arn, "reason", known.unusable)
	}
	if known.unusable == "" && before != "" {
		i.Log.InfoContext(ctx, "load balancer usable again", "loadBalancer", arn)
	}
}

// whyUnusable returns why a load balancer cannot be used; empty if it can.
func whyUnusable(lb elb.LoadBalancer, exists bool) string {
	switch {
	case !exists:
		return "it does not exist: remove it from the pool or create it"
	case lb.Type != elb.TypeNetwork:
		return fmt.Sprintf("it is of type %s: only network load balancers can be used", lb.Type)
	case lb.State != elb.StateActive:
		return fmt.Sprintf("it is %s: wait until it is active", lb.State)
	case !lb.CrossZone:
		// A target group with one target is empty in all other zones, and AWS removes a
		// zone with an empty target group from DNS.
		return "cross-zone load balancing is off: set load_balancing.cross_zone.enabled=true"
	}
	return ""
}

// selectByTags finds the load balancers that the pools' tags select.
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
		return fmt.Errorf("selecting load balancers by tags: %w", err)
	}
	tags, err := i.AWS.Tags(ctx, all...)
	if err != nil {
		return fmt.Errorf("selecting load balancers by tags: %w", err)
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
	i.changedLocked()
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

// arns are the load balancers of all pools, and those on which claims still hold
// ports.
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
