package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Names implements claim.Pools.
func (i *Inventory) Names() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	names := make([]string, 0, len(i.pools))
	for _, p := range i.pools {
		names = append(names, p.Name)
	}
	return names
}

// Pools returns all pools as Pool does, in the order of the pool file.
func (i *Inventory) Pools() []pool.Pool {
	var all []pool.Pool
	for _, name := range i.Names() {
		if p, exists := i.Pool(name); exists {
			all = append(all, p)
		}
	}
	return all
}

// Pool implements claim.Pools. A load balancer whose listeners have not been listed
// yet is left out, because any of its ports may be occupied. It returns the same slices
// until something has changed; do not change them.
func (i *Inventory) Pool(name string) (pool.Pool, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	cordons := i.Cordons.CachedBy(ledger.CordonedLoadBalancers)
	if last, exists := i.snapshots[name]; exists && ledger.Same(last.cordons, cordons) {
		return last.Pool, true
	}
	found, known := i.poolLocked(name)
	if known {
		i.snapshots[name] = snapshot{found, cordons}
	}
	return found, known
}

func (i *Inventory) poolLocked(name string) (pool.Pool, bool) {
	at := slices.IndexFunc(i.pools, func(p poolfile.Pool) bool { return p.Name == name })
	if at < 0 {
		return pool.Pool{}, false
	}
	p := i.pools[at]
	found := pool.Pool{Name: name, Terms: p.Terms}
	if _, read := i.selected[name]; len(p.Tags) > 0 && !read {
		found.Unread = true
		found.LeftOut = append(found.LeftOut, "the load balancers that its tags select ("+notRead.text+")")
	}
	vpc := i.vpcLocked(p)
	for _, arn := range i.membersLocked(p) {
		if why := i.leftOutLocked(at, arn, vpc); why != (reason{}) {
			found.LeftOut = append(found.LeftOut, fmt.Sprintf("%s (%s)", arn, why.text))
			found.Unread = found.Unread || why == notRead
			continue
		}
		known := i.known[arn]
		found.LoadBalancers = append(found.LoadBalancers, pool.LoadBalancer{
			LoadBalancer: api.LoadBalancer{ARN: arn, Host: known.Host, VPC: known.VPC, Addresses: known.Addresses},
			Cordoned:     i.cordoned(arn), Ranges: p.Ranges, Limit: i.limits.Listeners, Listed: known.listed,
		})
	}
	return found, true
}

// reason is why a load balancer is not used: a code for metrics, and a text for people.
type reason struct{ code, text string }

var notRead = reason{"not_read", "not read from AWS yet"}

// leftOutLocked returns why a load balancer of a pool cannot be used; zero if it can.
func (i *Inventory) leftOutLocked(at int, arn, vpc string) reason {
	p, known := i.pools[at], i.known[arn]
	switch {
	case known == nil || known.unread() || i.limits.Listeners == 0:
		return notRead
	case known.unusable != (reason{}):
		return known.unusable
	case vpc == "":
		return notRead // the pool's VPC is that of another one
	case known.VPC != vpc:
		// Targets are pod IPs, and those are in one VPC.
		return reason{"wrong_vpc", fmt.Sprintf("it is in VPC %s and the pool in %s: use one pool for each VPC, or correct the pool's vpc", known.VPC, vpc)}
	}
	for _, other := range i.pools[:at] {
		if !slices.Contains(i.membersLocked(other), arn) {
			continue
		}
		for _, r := range p.Ranges {
			if slices.ContainsFunc(other.Ranges, r.Overlaps) {
				return reason{"overlap", fmt.Sprintf("its tags put it into pool %s too, which has listener ports %v as well: list each port once", other.Name, r)}
			}
		}
	}
	return reason{}
}

// vpcLocked is the VPC of a pool: the one it names, or that of its first usable load
// balancer. It is empty before all load balancers up to that one are described.
func (i *Inventory) vpcLocked(p poolfile.Pool) string {
	if p.VPC != "" {
		return p.VPC
	}
	for _, arn := range i.membersLocked(p) {
		known := i.known[arn]
		if known == nil {
			return ""
		}
		if known.unusable == (reason{}) {
			return known.VPC
		}
	}
	return ""
}

// cordoned returns who cordoned a load balancer and why; empty if nobody did.
func (i *Inventory) cordoned(arn string) string {
	r, exists := i.Cordons.Cached(ledger.CordonName(ledger.LoadBalancerID(arn)))
	if !exists || r.Value.Cordoned == "" {
		return ""
	}
	return "cordoned by " + r.Value.Cordoned
}

// Offers reports whether a pool hands out a listener port of a load balancer.
func (i *Inventory) Offers(arn string, port int) bool {
	_, offered := i.Sticky(arn, port)
	return offered
}

// Sticky returns for how long a freed port is kept for a pod of the same name; false if no
// pool hands it out.
func (i *Inventory) Sticky(arn string, port int) (sticky time.Duration, offered bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range i.pools {
		if slices.ContainsFunc(p.Ranges, func(r pool.Range) bool { return r.Contains(port) }) && slices.Contains(i.membersLocked(p), arn) {
			return p.Terms.Sticky, true
		}
	}
	return 0, false
}

// Inspect implements claim.Pools.
func (i *Inventory) Inspect(ctx context.Context, arn string) (pool.Inspection, error) {
	listeners, err := i.Listeners(ctx, arn)
	if err != nil {
		return pool.Inspection{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	found := pool.Inspection{Listeners: make(map[int]pool.Listener, len(listeners)), Limit: i.limits.Listeners}
	if known := i.known[arn]; known != nil {
		found.Gone = known.gone
	}
	for _, l := range listeners {
		found.Listeners[l.Port] = pool.Listener{ARN: l.ARN, TargetGroupARNs: l.TargetGroupARNs}
	}
	return found, nil
}

// ListenerOwner implements claim.Pools.
func (i *Inventory) ListenerOwner(ctx context.Context, listenerARN string) (pool.Owner, error) {
	if listenerARN == "" {
		return pool.Owner{}, nil
	}
	all, err := i.AWS.Tags(ctx, listenerARN)
	if err != nil {
		return pool.Owner{}, fmt.Errorf("reading the tags of %s: %w", listenerARN, err)
	}
	tags, ours := elb.ReadTags(all[listenerARN])
	if !ours || tags.Ledger != i.Ledger {
		return pool.Owner{}, nil
	}
	return pool.Owner{PodUID: tags.PodUID, Fence: tags.Fence()}, nil
}

// State is one load balancer as the inventory knows it, for admins and metrics.
type State struct {
	Pool, ARN, Host, VPC string
	// LeftOut is why it is not used, and LeftOutReason the code of that; empty if it is.
	LeftOut, LeftOutReason string
	// Cordoned says who keeps new claims off it and why; empty if nobody does.
	Cordoned string
	// Listeners is how many the last listing showed, Limit how many there may be.
	Listeners, Limit int
}

// States returns the load balancers of all pools, in the order of the pool file, and
// then those that no pool names any more.
func (i *Inventory) States() []State {
	arns := i.arns()
	i.mu.Lock()
	defer i.mu.Unlock()
	var all []State
	named := make(map[string]bool)
	for at, p := range i.pools {
		vpc := i.vpcLocked(p)
		for _, arn := range i.membersLocked(p) {
			named[arn] = true
			s := i.stateLocked(arn)
			why := i.leftOutLocked(at, arn, vpc)
			s.Pool, s.LeftOut, s.LeftOutReason = p.Name, why.text, why.code
			all = append(all, s)
		}
	}
	for _, arn := range arns {
		if !named[arn] {
			all = append(all, i.stateLocked(arn))
		}
	}
	return all
}

func (i *Inventory) stateLocked(arn string) State {
	s := State{ARN: arn, Cordoned: i.cordoned(arn), Limit: i.limits.Listeners}
	if known := i.known[arn]; known != nil {
		s.Host, s.VPC, s.Listeners = known.Host, known.VPC, len(known.listeners)
	}
	return s
}
