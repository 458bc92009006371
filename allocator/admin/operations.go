package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

const (
	// rounds is how often a change starts over after losing a compare-and-swap.
	rounds     = 10
	retryAfter = time.Second
)

// Block closes a listener port to new holders until Unblock. Who holds it keeps
// it; the port is blocked once it is given back.
func (d *Service) Block(ctx context.Context, who, loadBalancerID string, port int, reason string) (api.PortView, error) {
	return d.close(ctx, loadBalancerID, port, who, who+": "+reason)
}

// Unblock ends Block. Somebody else's listener goes on blocking the port.
func (d *Service) Unblock(ctx context.Context, who, loadBalancerID string, port int) (api.PortView, error) {
	return d.close(ctx, loadBalancerID, port, who, "")
}

func (d *Service) close(ctx context.Context, loadBalancerID string, port int, who, closed string) (api.PortView, error) {
	name := ledger.PortName(loadBalancerID, port)
	for range rounds {
		r, err := d.config.Ports.Get(ctx, name)
		absent := errors.Is(err, ledger.ErrAbsent)
		switch {
		case absent && closed == "":
			return api.PortView{}, api.Errorf(api.NotFound, "port %d of load balancer %s has never been claimed or blocked", port, loadBalancerID)
		case absent:
			lb, err := d.balancer(loadBalancerID)
			if err != nil {
				return api.PortView{}, err
			}
			if !d.config.Stock.Offers(lb.ARN, port) {
				return api.PortView{}, api.Errorf(api.NotFound, "no pool hands out port %d of load balancer %s", port, loadBalancerID)
			}
			// Without an epoch: its first holder brings one along.
			r.Value = ledger.Port{LoadBalancerARN: lb.ARN, ListenerPort: port}
		case err != nil:
			return api.PortView{}, unavailable(err)
		}
		r.Value.BlockedBy, r.Value.UpdatedAt = closed, d.config.Now()
		r.Value = r.Value.Reconsidered()
		r, err = ledger.Put(ctx, d.config.Ports, name, r)
		if err == nil {
			d.config.Log.InfoContext(ctx, "port closed or opened by a person", "lease", name, "who", who, "closed", closed, "state", r.Value.State)
			return portView(r), nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return api.PortView{}, unavailable(err)
		}
	}
	return api.PortView{}, errBusy
}

var errBusy = api.Errorf(api.Pending, "others change it at this moment; ask again").WithRetryAfter(retryAfter)

// Cordon keeps new claims away from a load balancer until Uncordon, so that it
// becomes empty. Who holds a port of it keeps it.
func (d *Service) Cordon(ctx context.Context, who, loadBalancerID, reason string) (api.LoadBalancerView, error) {
	return d.cordon(ctx, loadBalancerID, who, who+": "+reason)
}

// Uncordon ends Cordon.
func (d *Service) Uncordon(ctx context.Context, who, loadBalancerID string) (api.LoadBalancerView, error) {
	return d.cordon(ctx, loadBalancerID, who, "")
}

func (d *Service) cordon(ctx context.Context, loadBalancerID, who, cordoned string) (api.LoadBalancerView, error) {
	lb, err := d.balancer(loadBalancerID)
	if err != nil {
		return lb, err
	}
	name := ledger.CordonName(loadBalancerID)
	for range rounds {
		r, err := d.config.Cordons.Get(ctx, name)
		absent := errors.Is(err, ledger.ErrAbsent)
		switch {
		case absent && cordoned == "":
			return lb, nil
		case err != nil && !absent:
			return lb, unavailable(err)
		}
		r.Value = ledger.Cordon{LoadBalancerARN: lb.ARN, Cordoned: cordoned, UpdatedAt: d.config.Now()}
		_, err = ledger.Put(ctx, d.config.Cordons, name, r)
		if err == nil {
			d.config.Log.InfoContext(ctx, "load balancer cordoned or uncordoned", "loadBalancer", lb.ARN, "who", who, "cordoned", cordoned, "held", lb.Held)
			return d.balancer(loadBalancerID)
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return lb, unavailable(err)
		}
	}
	return lb, errBusy
}

// balancer finds a load balancer that a pool names, or of which somebody still
// has a port.
func (d *Service) balancer(id string) (api.LoadBalancerView, error) {
	all := d.LoadBalancers()
	i := slices.IndexFunc(all, func(v api.LoadBalancerView) bool { return v.ID == id })
	if i < 0 {
		var ids []string
		for _, v := range all {
			ids = append(ids, v.ID)
		}
		return api.LoadBalancerView{}, api.Errorf(api.NotFound, "no pool has a load balancer %s; those that there are: %s", id, strings.Join(ids, ", "))
	}
	return all[i], nil
}
