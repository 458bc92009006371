package claim

import (
	"context"

	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// Pool is what may be handed out under one name, as it is known now.
type Pool struct {
	Name          string
	Terms         Terms
	LoadBalancers []LoadBalancer
	// LeftOut says of each load balancer that cannot be used now why not.
	LeftOut []string
	// Unread tells that one of them is left out only because this process has not
	// read it from AWS yet, so that nobody can say what the pool has.
	Unread bool
}

// LoadBalancer is one load balancer that is fit for use.
type LoadBalancer struct {
	api.LoadBalancer
	// Closed says why it gets no new claims although it is fit; empty if it does.
	Closed string
	Ranges []pool.Range
	// Seen has every listener port that the last AWS listing showed, whoever
	// made it, but for those of which the ledger knows more: none of them is granted.
	Seen map[int]bool
	// Limit is how many listeners it may have.
	Limit int
}

// Pools says what may be handed out.
type Pools interface {
	// Pool gives false for an unknown name.
	Pool(name string) (Pool, bool)
	Names() []string
	// Inspect is the allocator's own look at a load balancer. What it sees is in Pool
	// from then on.
	Inspect(ctx context.Context, loadBalancerARN string) (Inspection, error)
	// Proof reads whose a listener is from its tags.
	Proof(ctx context.Context, listenerARN string) (Proof, error)
}

// Inspection is what AWS showed of a load balancer.
type Inspection struct {
	// Gone is a load balancer that does not exist.
	Gone bool
	// Listeners are those it has, by listener port.
	Listeners map[int]Listener
	// Limit is how many listeners it may have; 0 if that was not read yet.
	Limit int
}

// Listener is a listener and what it forwards to.
type Listener struct {
	ARN             string
	TargetGroupARNs []string
}

// Proof is whose a listener is by its tags; zero if it is not this ledger's.
type Proof struct {
	PodUID string
	Fence  api.Fence
}
