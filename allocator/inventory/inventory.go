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
	// LoadBalancers returns those of the ARNs that exist. With an error it returns those
	// that it has read so far.
	LoadBalancers(ctx context.Context, arns ...string) ([]elb.LoadBalancer, error)
	CrossZone(ctx context.Context, loadBalancerARN string) (bool, error)
	// NetworkLoadBalancers returns the ARNs of all there are.
	NetworkLoadBalancers(ctx context.Context) ([]string, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	Limits(ctx context.Context) (elb.Limits, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
}

// Config is what an Inventory needs; all of it but Parallel is required.
type Config struct {
	Ledger string
	AWS    AWS
	// Ports and Cordons are read from the cache only.
	Ports   ledger.Ports
	Cordons ledger.Cordons
	Log     *slog.Logger
	// Parallel is how many load balancers are read at a time; less than 2 means one after
	// another.
	Parallel int
}

// Inventory implements claim.Pools.
type Inventory struct {
	Config

	mu    sync.Mutex
	pools []poolfile.Pool
	// limits are the account's; zero before they were read.
	limits elb.Limits
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
	// unusable is why it cannot be used; zero if it can.
	unusable reason
	gone     bool
	// crossZone is whether cross-zone load balancing is on, once that is known.
	// crossZoneAge is how many passes of Describe ago it was read.
	crossZone, crossZoneKnown bool
	crossZoneAge              int
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
