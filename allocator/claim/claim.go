// Package claim decides who may use which listener port.
//
// The ledger is the truth; everything here can be rebuilt from it. A port has at
// most one holder at any time, with any number of replicas deciding at once,
// because each step is a compare-and-swap:
//
//  1. The claim lease is created first, so that repeated and concurrent calls of
//     one pod meet the same claim on every replica.
//  2. Its plan (which ports, with which fence) is written before a port is taken.
//  3. Taking is always a write that follows the plan. The janitor gives back what
//     no plan lists by reading the port first and the claim second, so one of
//     the two compare-and-swaps loses.
//
// It does not promise that a holder is alive: that is the janitor's business.
package claim

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Holder is the pod that proved to be that pod.
type Holder struct {
	Namespace, Pod, UID string
	// Address is where its call came from; empty if that is not known.
	Address string
}

// Budget paces the calls to AWS.
type Budget interface {
	// Bind pays for one try at binding what of a claim's ports is not bound, and
	// for looking at the rest. More than zero is for how long it is too early.
	// throttled is how many calls of this pod AWS refused as too many.
	Bind(ctx context.Context, c ledger.Record[ledger.Claim], ports []ledger.Port, throttled int) (time.Duration, error)
	// ReserveDescribes pays for up to so many Describe calls; more than zero is for how long
	// it is too early for any.
	ReserveDescribes(ctx context.Context, calls int) (paid int, wait time.Duration, err error)
	// TryOpportunistic pays for an agent's deleting so many bindings, if nobody misses these
	// calls; false leaves it to the janitor, who needs fewer.
	TryOpportunistic(ctx context.Context, claim string, bindings int, deregister bool) (bool, error)
	// Throttled hears that AWS refused calls as too many.
	Throttled(ctx context.Context, calls int) error
}

// Config is what a Service needs; all of it is required.
type Config struct {
	Ledger string
	Claims ledger.Claims
	Ports  ledger.Ports
	Pools  Pools
	// GetPod is a consistent read of one pod; nil if there is none.
	GetPod func(ctx context.Context, namespace, pod string) (*ledger.Pod, error)
	// TargetGroupName derives a name from the fence.
	TargetGroupName func(ledgerID string, f api.Fence) string
	// Duration of a claim without renewal, and how often to renew.
	Duration, RenewEvery time.Duration
	// ReturnPatience is how long a pod waits for its port of before to be unbound.
	ReturnPatience time.Duration
	Budget         Budget
	// Age is for how long this process has seen a lease unchanged; 0 if it has
	// not yet.
	Age func(name, version string) time.Duration
	// Count counts refusals by pool, for metrics.
	Count func(what, pool string)
	Now   func() time.Time
	// NewEpoch gives a word that has never been given before.
	NewEpoch func() string
	// WakeJanitor tells the janitor that there is work; it must not block.
	WakeJanitor func()
	Log         *slog.Logger
}

// Service answers the calls of pods. Any number of them may work on one ledger.
type Service struct {
	Config
	// turns has room for the claims that are worked on at once.
	turns chan struct{}
}

// atOnce is how many claims are worked on at a time. A fleet that starts together
// is many more; were all of them worked on at once, the first would be done no
// sooner than the last, and AWS would idle meanwhile.
const atOnce = 8

// New makes a Service.
func New(c Config) *Service { return &Service{c, make(chan struct{}, atOnce)} }

// rounds is how often a call starts over after losing a compare-and-swap before
// it tells the caller to come again.
const rounds = 25

// retryAfter is when to ask again for what is not there yet.
const (
	retryExhausted = 5 * time.Second
	retrySoon      = time.Second
)

var errCrowded = api.Errorf(api.Pending, "too many others claim at this moment; ask again").WithRetryAfter(retrySoon)

// Claim grants all ports of a pod on one load balancer, or none. It may be
// repeated at any time: the same pod gets the same claim wherever it stands.
// created tells whether this call made the claim.
func (s *Service) Claim(ctx context.Context, h Holder, req api.ClaimRequest) (c api.Claim, created bool, err error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return c, false, unavailable(context.Cause(ctx))
	}
	if err := req.Validate(); err != nil {
		return c, false, api.Errorf(api.Invalid, "%v", err)
	}
	if req.PodUID != h.UID {
		return c, false, api.Errorf(api.Forbidden, "the token is pod %s's, the request names %s", h.UID, req.PodUID)
	}
	if err := s.checkPod(ctx, h, req.PodIP); err != nil {
		return c, false, err
	}
	r, created, err := s.open(ctx, h, req)
	if err != nil {
		return c, created, err
	}
	if !slices.Equal(r.Value.Requested, req.Ports) || r.Value.Pool != req.Pool {
		return c, created, api.Errorf(api.Invalid, "this pod already claims %v of pool %s; ports of a pod cannot change: replace the pod", r.Value.Requested, r.Value.Pool)
	}
	if r, err = s.prolong(ctx, r, req.PodIP, req.PreviousIPDeregistered); err != nil {
		return c, created, err
	}
	if r.Value.PreviousIP != "" {
		c, err = s.unvacated(ctx, r)
		return c, created, err
	}
	settled, err := s.settle(ctx, r)
	if err != nil {
		return c, created, err
	}
	granted, ports, err := s.advance(ctx, settled, nil)
	if err != nil {
		if unkept := s.keepSettled(ctx, r, settled); unkept != nil {
			err = unkept
		}
		return c, created, err
	}
	if granted.Value.ConfirmedIP != req.PodIP {
		return c, created, errCrowded // begun anew or moved meanwhile, and not settled since
	}
	c, err = s.paid(ctx, granted, ports, req.Throttled)
	return c, created, err
}

// checkPod refuses a pod that is gone or cannot be a target.
func (s *Service) checkPod(ctx context.Context, h Holder, ip string) error {
	pod, err := s.GetPod(ctx, h.Namespace, h.Pod)
	if err != nil {
		return unavailable(err)
	}
	switch {
	case ledger.Gone(pod, h.UID):
		return api.Errorf(api.Forbidden, "pod %s/%s with UID %s is gone or has ended", h.Namespace, h.Pod, h.UID)
	case pod.HostNetwork:
		return api.Errorf(api.Invalid, "pod %s/%s is on the host network and has no address of its own: remove hostNetwork", h.Namespace, h.Pod)
	case len(pod.IPs) == 0 && h.Address == ip:
		// The kubelet reports an address up to a second after the agent has begun. A
		// call that came from there shows as much.
	case !slices.Contains(pod.IPs, ip):
		return api.Errorf(api.Pending, "status.podIPs of the pod is %v, not %s: ask again once the kubelet has reported it", pod.IPs, ip).WithRetryAfter(retrySoon)
	}
	return nil
}

// open finds the claim of a pod or makes it.
func (s *Service) open(ctx context.Context, h Holder, req api.ClaimRequest) (r ledger.Record[ledger.Claim], created bool, err error) {
	name := ledger.ClaimName(h.UID)
	refused := s.admit(h, req)
	// Most that ask are new, and creating tells whether there is one.
	_, known := s.Claims.Cached(name)
	for range rounds {
		if known || refused != nil {
			r, err = s.Claims.Get(ctx, name)
			switch {
			case err == nil:
				return r, false, nil
			case !errors.Is(err, ledger.ErrAbsent):
				return r, false, unavailable(err)
			case refused != nil:
				return r, false, refused
			}
		}
		r, err = s.Claims.Create(ctx, name, ledger.Claim{
			Namespace: h.Namespace, Pod: h.Pod, PodUID: h.UID, PodIP: req.PodIP, Pool: req.Pool,
			State: ledger.Waiting, Requested: req.Ports, HealthPort: req.HealthPort,
			Duration: s.Duration, RenewedAt: s.Now(),
		})
		if err == nil {
			return r, true, nil
		}
		if !errors.Is(err, ledger.ErrConflict) {
			return r, false, unavailable(err)
		}
		known = true
	}
	return r, false, errCrowded
}

// admit refuses a new claim that the pool does not allow.
func (s *Service) admit(h Holder, req api.ClaimRequest) error {
	from, known := s.Pools.Pool(req.Pool)
	if !known {
		return s.unknownPool(req.Pool)
	}
	return from.Admit(h.Namespace, req.Ports)
}

// prolong records the address of the pod, which changes when its sandbox was
// made anew, that the former one was vacated, and that the pod still asks: it may
// wait for the budget, or in line for a port, for longer than a claim lasts.
func (s *Service) prolong(ctx context.Context, r ledger.Record[ledger.Claim], ip string, vacated int) (ledger.Record[ledger.Claim], error) {
	return s.changeClaim(ctx, r, func(r *ledger.Record[ledger.Claim]) (bool, error) {
		v := &r.Value
		switch {
		case v.State == ledger.ClaimReleasing:
			return false, nil
		case v.PodIP != ip:
			*v = v.MovedTo(ip)
		case v.PreviousIP != "" && v.AddressChanges == vacated:
			v.PreviousIP = ""
		case s.Age(r.Name, r.Version) < s.RenewEvery:
			return false, nil
		}
		return true, nil
	})
}

// unvacated gives a claim whose agent has to deregister the former address before
// all else. The present one is settled only after that, or two pods that have
// exchanged their addresses would wait for each other. Nothing of the budget is
// asked for: it is rare, and others wait for the address.
func (s *Service) unvacated(ctx context.Context, r ledger.Record[ledger.Claim]) (api.Claim, error) {
	r, ports, err := s.advance(ctx, r, nil)
	if err != nil {
		return api.Claim{}, err
	}
	c := s.wire(r, ports)
	c.BindAfterSeconds = retrySoon.Seconds()
	return c, nil
}

// unavailable answers that the API server or AWS failed. The outcome is unknown;
// every call may be repeated.
func unavailable(err error) error {
	return api.Errorf(api.Unavailable, "a call to the Kubernetes API or AWS failed; retry").WithRetryAfter(retrySoon).WithCause(err)
}
