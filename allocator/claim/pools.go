package claim

import (
	"context"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// Pools is what may be handed out.
type Pools interface {
	// Pool returns false for an unknown name.
	Pool(name string) (pool.Pool, bool)
	Names() []string
	// Inspect describes a load balancer in AWS. Pool includes what it found from
	// then on.
	Inspect(ctx context.Context, loadBalancerARN string) (pool.Inspection, error)
	// ListenerOwner reads from a listener's tags whose it is.
	ListenerOwner(ctx context.Context, listenerARN string) (pool.Owner, error)
}

// unknownPool names what there is instead.
func (s *Service) unknownPool(name string) error {
	return api.Errorf(api.Invalid, "pool %q does not exist; the pools are: %s", name, strings.Join(s.Pools.Names(), ", "))
}

func (s *Service) exhausted(c ledger.Claim) error {
	s.Count("exhausted", c.Pool)
	from, _ := s.Pools.Pool(c.Pool)
	leftOut := ""
	if reasons := from.WhyNone(); reasons != "" {
		leftOut = "; left out: " + reasons
	}
	return api.Errorf(api.Exhausted, "pool %s has no load balancer with %d free listener ports: add a load balancer, widen the pool, or wait for a port to come back%s",
		c.Pool, len(c.Requested), leftOut).WithRetryAfter(retryExhausted)
}
