package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/shared/api"
)

// Claims gives a pod the right to its listener ports. Asked again, the same pod
// gets the same claim wherever that stands.
type Claims interface {
	Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error)
}

// claim asks until there is a claim or ctx is over. Nothing makes it give up: a
// pool may get room, a person may mend a setting.
func (a *Agent) claim(ctx context.Context, h *holding) error {
	request := api.ClaimRequest{
		PodUID: a.Pod.UID, PodIP: a.Pod.IP, Pool: a.Pool, Ports: a.Ports, HealthPort: a.HealthPort,
	}
	var pace pace
	var trouble trouble
	for {
		request.Throttled, request.PreviousIPDeregistered = a.throttled, h.vacated
		c, err := a.Allocator.Claim(ctx, a.Pod.Namespace, a.Pod.Name, request)
		if err == nil {
			err = a.check(c)
		}
		if err == nil {
			a.throttled -= request.Throttled
			if h.adopt(c) {
				a.granted(ctx, c)
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		a.meet(ctx, &trouble, "claim not granted", err)
		if err := a.pause(ctx, pace.next(err, a.Jitter)); err != nil {
			return err
		}
	}
}

// check refuses a claim that is not the one asked for: binding by it could touch
// what is another's.
func (a *Agent) check(c api.Claim) error {
	switch {
	case c.UID == "" || c.Ledger == "":
		return errors.New("the claim granted has no UID or no ledger")
	case c.PodUID != a.Pod.UID || c.Namespace != a.Pod.Namespace || c.Pod != a.Pod.Name:
		return fmt.Errorf("the claim granted is pod %s/%s's with UID %s", c.Namespace, c.Pod, c.PodUID)
	case len(c.Ports) != len(a.Ports):
		return fmt.Errorf("the claim granted has %d ports, %d were asked for", len(c.Ports), len(a.Ports))
	}
	for i, p := range c.Ports {
		if p.Port != a.Ports[i] {
			return fmt.Errorf("the claim granted has port %+v in place of %+v", p.Port, a.Ports[i])
		}
	}
	return nil
}

func (a *Agent) granted(ctx context.Context, c api.Claim) {
	for _, p := range c.Ports {
		a.Log.InfoContext(ctx, "port claimed", "port", p.ListenerPort, "targetPort", p.TargetPort,
			"lease", p.Fence.Lease, "generation", p.Fence.Generation)
	}
}
