package linearize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
)

// lagLimit is how long a replica's cache may lag behind before the replica is
// restarted. A replica that was cut off restarts its watch with a back-off of up to
// half a minute, which is too long for a round.
const lagLimit = 2 * time.Second

// waitIdle waits until all ports are free and every replica has seen that.
func (c *system) waitIdle(ctx context.Context) error {
	if err := rig.Eventually(ctx, "all ports to be free", func() error { return c.allPortsFree(ctx) }); err != nil {
		return err
	}
	for n, a := range c.rig.Replicas {
		short, cancel := context.WithTimeout(ctx, lagLimit)
		err := rig.Eventually(short, a.Name()+" to know", func() error { return c.upToDate(short, n) })
		cancel()
		if err == nil {
			continue
		}
		if err := errors.Join(a.Kill(ctx), a.Revive(ctx)); err != nil {
			return err
		}
		if err := rig.Eventually(ctx, a.Name()+" to know", func() error { return c.upToDate(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

// allPortsFree releases claims that a call of unknown outcome may have made after its
// pod had finished. It returns an error until nothing is claimed.
func (c *system) allPortsFree(ctx context.Context) error {
	claims, ports, err := c.rig.Leases(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range claims {
		errs = append(errs, fmt.Errorf("claim %s of %s is %s", r.Name, r.Value.Pod, r.Value.State))
		if r.Value.State != ledger.ClaimReleasing {
			c.releaseLeftover(ctx, r.Value.Pod)
		}
	}
	for _, r := range ports {
		if r.Value.State != ledger.Free {
			errs = append(errs, fmt.Errorf("port %s is %s", r.Name, r.Value.State))
		}
	}
	return errors.Join(errs...)
}

// releaseLeftover lets a pod claim and release once more, outside of any history.
func (c *system) releaseLeftover(ctx context.Context, pod string) {
	r := &round{system: c, began: time.Now()}
	for n, p := range c.callerPods {
		if p.pod.Name == pod {
			a := &caller{callerPod: p, round: r, rng: r.source(n), want: 1, unsure: true}
			a.finish(ctx)
		}
	}
}

// upToDate returns an error while a replica's cache of the ledger or of AWS is stale.
func (c *system) upToDate(ctx context.Context, replica int) error {
	_, records, err := c.rig.Leases(ctx)
	if err != nil {
		return err
	}
	var ports struct {
		Ports []struct {
			Lease      string           `json:"lease"`
			State      ledger.PortState `json:"state"`
			Generation int              `json:"generation"`
		} `json:"ports"`
	}
	if err := c.get(ctx, replica, "/v1/ports", &ports); err != nil {
		return err
	}
	seen := make(map[string]int)
	for _, p := range ports.Ports {
		if p.State == ledger.Free {
			seen[p.Lease] = p.Generation
		}
	}
	for _, r := range records {
		if seen[r.Name] != r.Value.Generation {
			return fmt.Errorf("it has not seen %s free at generation %d", r.Name, r.Value.Generation)
		}
	}
	listeners := make(map[string]int)
	for _, l := range c.rig.Emulator.Snapshot().Listeners {
		listeners[l.LoadBalancerARN]++
	}
	var pools struct {
		Pools []struct {
			LoadBalancers []struct {
				ARN       string `json:"arn"`
				Listeners int    `json:"listeners"`
			} `json:"loadBalancers"`
		} `json:"pools"`
	}
	if err := c.get(ctx, replica, "/v1/pools", &pools); err != nil {
		return err
	}
	if len(pools.Pools) != 1 || len(pools.Pools[0].LoadBalancers) != balancers {
		return errors.New("it does not know its load balancers")
	}
	for _, lb := range pools.Pools[0].LoadBalancers {
		if lb.Listeners != listeners[lb.ARN] {
			return fmt.Errorf("it has seen %d listeners on %s, and there are %d", lb.Listeners, lb.ARN, listeners[lb.ARN])
		}
	}
	return nil
}

func (c *system) get(ctx context.Context, replica int, path string, into any) error {
	status, text, err := send(ctx, c.rig.HTTP(), http.MethodGet, c.rig.Replicas[replica].URL()+path, c.admin, "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answered %d: %s", path, status, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
