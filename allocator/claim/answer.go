package claim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// reservation is what the budget answers a claim. It may be made early, while the ledger is
// read or written for the same call. If that fails, it costs the budget no more than a pod
// that dies.
type reservation struct {
	*Service
	// throttled is how many throttled calls of the agent the budget was not told of yet.
	throttled int
	// ports are those that it was made for; nil before that.
	ports []ledger.Port
	wait  time.Duration
	err   error
}

func (s *Service) reservation(throttled int) *reservation {
	return &reservation{Service: s, throttled: throttled}
}

// reserve reserves the calls that bind a claim's ports. A nil reservation reserves nothing.
func (b *reservation) reserve(ctx context.Context, r ledger.Record[ledger.Claim], ports []ledger.Port) {
	if b == nil {
		return
	}
	b.wait, b.err = b.Budget.Bind(ctx, r, ports, b.throttled)
	b.throttled, b.ports = 0, ports
}

// answer returns the claim as its agent sees it, and when the agent may bind.
func (s *Service) answer(ctx context.Context, r ledger.Record[ledger.Claim], ports []ledger.Port, b *reservation) (api.Claim, error) {
	c := s.toAPI(r, ports)
	if !slices.Equal(b.ports, ports) {
		b.reserve(ctx, r, ports)
	}
	if b.err != nil {
		return c, unavailable(b.err)
	}
	c.BindAfterSeconds = b.wait.Seconds()
	return c, nil
}

// Show returns the claim of a pod to an admin.
func (s *Service) Show(ctx context.Context, podUID string) (api.Claim, error) {
	r, err := s.Claims.Get(ctx, ledger.ClaimName(podUID))
	if errors.Is(err, ledger.ErrAbsent) {
		return api.Claim{}, api.Errorf(api.NotFound, "the pod has no claim")
	}
	if err != nil {
		return api.Claim{}, unavailable(err)
	}
	ports, err := s.portsOf(ctx, r)
	if err != nil {
		return api.Claim{}, err
	}
	return s.toAPI(r, ports), nil
}

// portsOf reads the ports of a granted claim, in the order of its plan.
func (s *Service) portsOf(ctx context.Context, r ledger.Record[ledger.Claim]) ([]ledger.Port, error) {
	var ports []ledger.Port
	for _, p := range r.Value.Ports {
		port, err := s.Ports.Get(ctx, p.Fence.Lease)
		if err != nil {
			return nil, unavailable(err)
		}
		if !port.Value.Holds(r.Name, p.Fence) {
			return nil, api.Errorf(api.Pending, "port %d was taken back meanwhile; ask again", p.ListenerPort).WithRetryAfter(retrySoon)
		}
		ports = append(ports, port.Value)
	}
	return ports, nil
}

// toAPI is a claim as its agent sees it, with what the ledger records of its ports.
func (s *Service) toAPI(r ledger.Record[ledger.Claim], ports []ledger.Port) api.Claim {
	v := r.Value
	c := api.Claim{
		UID: r.UID, Ledger: s.Ledger, Namespace: v.Namespace, Pod: v.Pod, PodUID: v.PodUID,
		PodIP: v.PodIP, PreviousIP: v.PreviousIP, AddressChanges: v.AddressChanges, Pool: v.Pool,
		LoadBalancer: v.LoadBalancer, Ports: []api.ClaimedPort{}, DurationSeconds: v.Duration.Seconds(), RenewSeconds: s.RenewEvery.Seconds(),
		PropagationSeconds: s.Propagation.Seconds(), InUseSeconds: s.InUseWindow.Seconds(),
	}
	for i, port := range ports {
		c.Ports = append(c.Ports, s.portToAPI(v, i, port))
	}
	return c
}

func (s *Service) portToAPI(c ledger.Claim, i int, port ledger.Port) api.ClaimedPort {
	p := c.Ports[i]
	return api.ClaimedPort{
		Port: c.Requested[i], ListenerPort: p.ListenerPort, Fence: p.Fence,
		TargetGroupName: s.TargetGroupName(s.Ledger, p.Fence), HealthCheck: p.HealthCheck, Attributes: p.Attributes,
		TargetGroupARN: port.TargetGroupARN, ListenerARN: port.ListenerARN, TargetHealth: port.TargetHealth,
	}
}
