package janitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

const (
	// forgetAfter is how long a port must be free before its lease is deleted, and
	// forgetUnoffered the same for a port that no pool offers any more.
	forgetAfter     = 24 * time.Hour
	forgetUnoffered = time.Hour
	// maxForgotten bounds the leases that one audit deletes, so that audits stay short.
	maxForgotten = 50
)

// epoch names all holdings of one port lease.
type epoch struct{ lease, epoch string }

// audited is what an audit saw in AWS beside the bindings of present holdings.
type audited struct {
	began  time.Time
	epochs map[epoch]bool
	// targetGroups is how many the account has in the region, whoever made them.
	targetGroups int
}

func epochsOf(resources []Resource) map[epoch]bool {
	seen := make(map[epoch]bool, len(resources))
	for _, r := range resources {
		seen[epoch{r.Tags.Lease, r.Tags.Epoch}] = true
	}
	return seen
}

// maybeListed reports whether AWS may have something of an epoch that a claim lists and that
// is over. Only an audit that has begun since this process saw the claim as it is knows.
func (j *Janitor) maybeListed(r ledger.Record[ledger.Claim], f api.Fence) bool {
	last := j.audited.Load()
	return last == nil || last.epochs[epoch{f.Lease, f.Epoch}] || j.Observer.Age(r.Name, r.Version) <= j.Now().Sub(last.began)
}

// forgetFree deletes the leases of ports that nobody has used for long, so that the ledger
// does not grow with every port that was ever used. seen are the epochs of what the audit saw
// in AWS beside the bindings of present holdings.
//
// The fence stays safe. The next lease of that name begins a new epoch, so the fences of
// earlier holdings match nothing. The last target group was deleted before the port became
// free, so no late call can create a listener with it. A late target group is an orphan, and
// is deleted. While AWS shows a resource of an epoch, its lease stays: it proves at first
// sight that the resource is an orphan.
func (j *Janitor) forgetFree(ctx context.Context, seen map[epoch]bool, listed map[string][]elb.Listener) error {
	planned := make(map[string]bool)
	for _, c := range j.Claims.CachedAll() {
		for _, p := range c.Value.Ports {
			planned[p.Fence.Lease] = true
		}
	}
	var errs []error
	forgotten := 0
	for _, p := range j.Ports.CachedAll() {
		if p.Value.State != ledger.Free || planned[p.Name] || seen[epoch{p.Name, p.Value.Epoch}] {
			continue
		}
		sticky, offered := j.Listings.Sticky(p.Value.LoadBalancerARN, p.Value.ListenerPort)
		_, shown := listed[p.Value.LoadBalancerARN]
		if offered && !shown || j.Observer.Age(p.Name, p.Version) < freeFor(offered, sticky) {
			continue
		}
		if forgotten++; forgotten > maxForgotten {
			break
		}
		if err := j.Ports.Delete(ctx, *p); errors.Is(err, ledger.ErrConflict) {
			continue // somebody has just taken it
		} else if err != nil {
			errs = append(errs, fmt.Errorf("deleting the lease of free port %s: %w", p.Name, err))
			continue
		}
		j.Count("delete port lease", "free for long")
		j.Log.InfoContext(ctx, "lease of a free port deleted", "lease", p.Name, "port", p.Value.ListenerPort, "generation", p.Value.Generation, "offered", offered)
	}
	return errors.Join(errs...)
}

// freeFor is how long a port must be free before its lease may be deleted. A pod of the
// same name has a claim to its last port for the sticky time of the pool.
func freeFor(offered bool, sticky time.Duration) time.Duration {
	if !offered {
		return forgetUnoffered
	}
	return max(forgetAfter, sticky)
}
