package admin

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Block keeps new holders off a listener port until Unblock. A holder keeps the
// port; it is blocked once the holder has released it.
func (s *Service) Block(ctx context.Context, who, loadBalancerID string, port int, reason string) (api.PortView, error) {
	name := ledger.PortName(loadBalancerID, port)
	return s.setBlocked(ctx, name, who, who+": "+reason, func() (ledger.Port, error) {
		lb, err := s.loadBalancer(loadBalancerID)
		if err != nil {
			return ledger.Port{}, err
		}
		if !s.config.Stock.Offers(lb.ARN, port) {
			return ledger.Port{}, api.Errorf(api.NotFound, "no pool hands out port %d of load balancer %s", port, loadBalancerID)
		}
		// Without an epoch: its first holder starts one.
		return ledger.Port{LoadBalancerARN: lb.ARN, ListenerPort: port}, nil
	})
}

// Unblock ends Block. A foreign listener still blocks the port.
func (s *Service) Unblock(ctx context.Context, who, loadBalancerID string, port int) (api.PortView, error) {
	name := ledger.PortName(loadBalancerID, port)
	return s.setBlocked(ctx, name, who, "", func() (ledger.Port, error) {
		return ledger.Port{}, neverUsed(loadBalancerID, port)
	})
}

// setBlocked writes who blocks a port and why; empty unblocks it. A port lease that
// does not exist starts from what absent returns.
func (s *Service) setBlocked(ctx context.Context, lease, who, blockedBy string, absent func() (ledger.Port, error)) (api.PortView, error) {
	r, _, err := ledger.CreateOrChange(ctx, s.config.Ports, lease, func(r ledger.Record[ledger.Port]) (next ledger.Port, write bool, err error) {
		next = r.Value
		if !r.Exists() {
			if next, err = absent(); err != nil {
				return next, false, err
			}
		}
		next.BlockedBy, next.UpdatedAt = blockedBy, s.config.Now()
		return next.Reconsidered(), true, nil
	})
	if err != nil {
		return api.PortView{}, problem(err)
	}
	log := s.config.Log.With("lease", lease, "who", who, "state", r.Value.State)
	if blockedBy == "" {
		log.InfoContext(ctx, "port unblocked by an admin")
	} else {
		log.InfoContext(ctx, "port blocked by an admin", "reason", blockedBy)
	}
	return portView(r), nil
}

// Cordon keeps new claims off a load balancer until Uncordon, so that it becomes
// empty. Holders keep their ports.
func (s *Service) Cordon(ctx context.Context, who, loadBalancerID, reason string) (api.LoadBalancerView, error) {
	return s.setCordoned(ctx, loadBalancerID, who, who+": "+reason)
}

// Uncordon ends Cordon.
func (s *Service) Uncordon(ctx context.Context, who, loadBalancerID string) (api.LoadBalancerView, error) {
	return s.setCordoned(ctx, loadBalancerID, who, "")
}

func (s *Service) setCordoned(ctx context.Context, loadBalancerID, who, cordoned string) (api.LoadBalancerView, error) {
	lb, err := s.loadBalancer(loadBalancerID)
	if err != nil {
		return lb, err
	}
	_, wrote, err := ledger.CreateOrChange(ctx, s.config.Cordons, ledger.CordonName(loadBalancerID), func(r ledger.Record[ledger.Cordon]) (ledger.Cordon, bool, error) {
		next := ledger.Cordon{LoadBalancerARN: lb.ARN, Cordoned: cordoned, UpdatedAt: s.config.Now()}
		return next, r.Exists() || cordoned != "", nil
	})
	if err != nil || !wrote {
		return lb, problem(err)
	}
	log := s.config.Log.With("loadBalancer", lb.ARN, "who", who, "held", lb.Held)
	if cordoned == "" {
		log.InfoContext(ctx, "load balancer uncordoned")
	} else {
		log.InfoContext(ctx, "load balancer cordoned", "reason", cordoned)
	}
	return s.loadBalancer(loadBalancerID)
}

// loadBalancer finds a load balancer of a pool, or one that still has held ports.
func (s *Service) loadBalancer(id string) (api.LoadBalancerView, error) {
	all := s.LoadBalancers()
	i := slices.IndexFunc(all, func(v api.LoadBalancerView) bool { return v.ID == id })
	if i < 0 {
		var ids []string
		for _, v := range all {
			ids = append(ids, v.ID)
		}
		return api.LoadBalancerView{}, api.Errorf(api.NotFound, "no pool has a load balancer %s; the load balancers are: %s", id, strings.Join(ids, ", "))
	}
	return all[i], nil
}

func neverUsed(loadBalancerID string, port int) error {
	return api.Errorf(api.NotFound, "port %d of load balancer %s has never been claimed or blocked", port, loadBalancerID)
}

// problem turns an error of the ledger into the admin's answer. The outcome of a
// failed write is unknown; every call may be repeated.
func problem(err error) error {
	switch _, decided := errors.AsType[*api.Problem](err); {
	case err == nil, decided:
		return err
	case errors.Is(err, ledger.ErrContended):
		return api.Errorf(api.Pending, "too many concurrent writes to this record; ask again").WithRetryAfter(retryAfter)
	}
	return unavailable(err)
}
