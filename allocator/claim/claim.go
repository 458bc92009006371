// Package claim decides which pod may use which listener port.
//
// The ledger is the truth; everything here can be rebuilt from it. A port has at
// most one holder at any time, with any number of replicas deciding at once,
// because each step is a compare-and-swap:
//
//  1. The claim lease is created first, so that repeated and concurrent calls of
//     one pod find the same claim on every replica.
//  2. Its plan (which ports, with which fence) is written before a port is taken, with
//     the claim lease if there is one by then.
//  3. A port is always taken by a write that follows the plan. The janitor releases
//     a port that no plan lists. It reads the port first and the claim second, so
//     one of the two compare-and-swaps loses.
//
// The package does not promise that a holder is alive: the janitor checks that.
package claim

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// Retry intervals for agents, by what they wait for.
const (
	// retryExhausted is that of the first claims in the queue of an exhausted pool.
	retryExhausted = 5 * time.Second
	// mostExhausted is that of the last ones. Agents wait no longer than this.
	mostExhausted = 5 * time.Minute
	retrySoon     = time.Second
)

// Claim grants all ports of a pod on one load balancer, or none. It may be
// repeated at any time: a pod always gets the same claim, on every replica.
// created reports whether this call created the claim.
func (s *Service) Claim(ctx context.Context, h Holder, req api.ClaimRequest) (c api.Claim, created bool, err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return c, false, err
	}
	defer leave()
	if err := s.checkRequest(ctx, h, req); err != nil {
		return c, false, err
	}
	r, created, err := s.createOrRenew(ctx, h, req)
	if err == nil {
		r, err = s.withinQuota(ctx, r)
	}
	if errors.Is(err, api.ErrQuota) {
		s.Count("quota", req.Pool)
	}
	if err != nil {
		return c, created, err
	}
	c, err = s.serve(ctx, r, req)
	return c, created, err
}

// enter waits until this call may be worked on.
func (s *Service) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
	case <-ctx.Done():
		return nil, unavailable(context.Cause(ctx))
	}
}

func (s *Service) checkRequest(ctx context.Context, h Holder, req api.ClaimRequest) error {
	if err := req.Validate(); err != nil {
		return api.Errorf(api.Invalid, "%v", err)
	}
	if req.PodUID != h.UID {
		return api.Errorf(api.Forbidden, "the token belongs to pod UID %s, the request names %s", h.UID, req.PodUID)
	}
	return s.checkPod(ctx, h, req.PodIP)
}

// checkPod refuses a pod that is gone or cannot be a target.
func (s *Service) checkPod(ctx context.Context, h Holder, ip string) error {
	pod, err := s.GetPod(ctx, h.Namespace, h.Pod)
	if err != nil {
		return unavailable(err)
	}
	switch {
	case ledger.Gone(pod, h.UID):
		return podGone(h.Namespace, h.Pod, h.UID)
	case pod.HostNetwork:
		return api.Errorf(api.Invalid, "pod %s/%s is on the host network and has no IP of its own: remove hostNetwork", h.Namespace, h.Pod)
	case isIPv6(ip):
		return api.Errorf(api.Invalid, "pod IP %s is IPv6, and target groups are IPv4: give the pod an IPv4 address", ip)
	case len(pod.IPs) == 0 && h.Address == ip:
		// The kubelet reports an IP up to a second after the agent has started. A
		// call from that IP proves as much.
	case !slices.Contains(pod.IPs, ip):
		return api.Errorf(api.Pending, "status.podIPs of the pod is %v, not %s: ask again once the kubelet has reported it", pod.IPs, ip).WithRetryAfter(retrySoon)
	}
	return nil
}

func isIPv6(ip string) bool {
	address, err := netip.ParseAddr(ip)
	return err == nil && address.Is6()
}

// createOrRenew returns the claim of a pod, and records that the pod still asks: it may
// wait for the budget or a port for longer than a claim lasts. It creates a claim if there
// is none and the pool admits it.
func (s *Service) createOrRenew(ctx context.Context, h Holder, req api.ClaimRequest) (r ledger.Record[ledger.Claim], created bool, err error) {
	refusal := s.admit(h, req)
	r, wrote, err := ledger.CreateOrChange(ctx, s.Claims, ledger.ClaimName(h.UID), func(r ledger.Record[ledger.Claim]) (ledger.Claim, bool, error) {
		created = !r.Exists()
		if !created {
			return s.askedAgain(r, req)
		}
		if refusal != nil {
			return r.Value, false, refusal
		}
		return s.firstPlan(r.Name, ledger.Claim{
			Namespace: h.Namespace, Pod: h.Pod, PodUID: h.UID, PodIP: req.PodIP, Pool: req.Pool,
			State: ledger.Waiting, Requested: req.Ports, HealthPort: req.HealthPort,
			Duration: s.Duration, RenewedAt: s.Now(), AcquiredAt: s.Now(),
		}), true, nil
	})
	return r, created && wrote, problem(err)
}

// askedAgain decides what becomes of an existing claim whose pod asks again. It records a
// changed pod IP, that the previous one was deregistered, what became of the last attempt to
// bind, and for how long the pod will be told to wait.
func (s *Service) askedAgain(r ledger.Record[ledger.Claim], req api.ClaimRequest) (next ledger.Claim, write bool, err error) {
	next = r.Value
	if !slices.Equal(next.Requested, req.Ports) || next.Pool != req.Pool {
		return next, false, api.Errorf(api.Invalid, "this pod already claims %v of pool %s; ports of a pod cannot change: replace the pod", next.Requested, next.Pool)
	}
	next.Retries = s.retries(r, req.Failed)
	switch {
	case next.State == ledger.ClaimReleasing:
		return next, false, nil
	case next.PodIP != req.PodIP:
		next = next.MovedTo(req.PodIP)
	case next.PreviousIP != "" && next.AddressChanges == req.PreviousIPDeregistered:
		next.PreviousIP = ""
	case next.Retries != r.Value.Retries:
	case s.Age(r.Name, r.Version) < s.RenewEvery:
		return next, false, nil
	}
	next.Duration, next.RenewedAt = s.durationOf(r), s.Now()
	return next, true, nil
}

// youngest is when a claim was created that will be created next.
var youngest = time.Unix(1<<40, 0)

// firstPlan returns a new claim with its plan, which saves a write. If there is no plan for
// it now, or if it must be within a quota first, the claim lasts as long as its pod will be
// told to wait.
func (s *Service) firstPlan(name string, c ledger.Claim) ledger.Claim {
	r := ledger.Record[ledger.Claim]{Name: name, CreatedAt: youngest, Value: c}
	if now, err := s.situation(r, nil); err == nil && now.pool.Terms.Quota.PerNamespace == 0 {
		if p := makePlan(now); p.changes && p.refusal == nil {
			return p.claim
		}
	}
	c.Duration = s.durationOf(r)
	return c
}

// admit refuses a new claim that the pool does not allow.
func (s *Service) admit(h Holder, req api.ClaimRequest) error {
	from, known := s.Pools.Pool(req.Pool)
	if !known {
		return s.unknownPool(req.Pool)
	}
	if err := from.Admit(h.Namespace, req.Ports); err != nil {
		return err
	}
	return s.checkCachedQuota(from, h.Namespace, len(req.Ports))
}

func (s *Service) unknownPool(name string) error {
	return api.Errorf(api.Invalid, "pool %q does not exist; the pools are: %s", name, strings.Join(s.Pools.Names(), ", "))
}

// serve takes an existing claim to granted, and answers its pod.
func (s *Service) serve(ctx context.Context, r ledger.Record[ledger.Claim], req api.ClaimRequest) (api.Claim, error) {
	if r.Value.PreviousIP != "" {
		return s.deregisterPreviousIP(ctx, r)
	}
	r, confirmed, err := s.confirmAddress(ctx, r)
	if err != nil {
		return api.Claim{}, err
	}
	b := s.reservation(req.Throttled)
	r, ports, err := s.complete(ctx, r, confirmed, nil, b)
	if err != nil {
		if unrecorded := s.recordConfirmation(ctx, r, confirmed); unrecorded != nil {
			err = unrecorded
		}
		return api.Claim{}, err
	}
	if r.Value.ConfirmedIP != req.PodIP {
		return api.Claim{}, errContended // created again or moved meanwhile, and not confirmed since
	}
	return s.answer(ctx, r, ports, b)
}

// retries are those of a claim after a renewal by its agent.
func (s *Service) retries(r ledger.Record[ledger.Claim], failed api.FailureKind) ledger.Retries {
	_, bound := s.cachedWhole(r)
	// Agents come up to a tenth early, and this process sees a change a little late.
	interval := s.Age(r.Name, r.Version) >= s.RenewEvery*2/3
	return r.Value.Retries.Renewed(failed != "", bound, interval)
}

// deregisterPreviousIP answers a claim whose agent must deregister the previous pod
// IP before anything else. The present IP is confirmed only after that, or two pods
// that have exchanged their IPs would wait for each other. It reserves no AWS calls:
// this is rare, and another pod waits for the IP.
func (s *Service) deregisterPreviousIP(ctx context.Context, r ledger.Record[ledger.Claim]) (api.Claim, error) {
	r, ports, err := s.complete(ctx, r, confirmation{}, nil, nil)
	if err != nil {
		return api.Claim{}, err
	}
	c := s.toAPI(r, ports)
	c.BindAfterSeconds = retrySoon.Seconds()
	return c, nil
}

var errContended = api.Errorf(api.Pending, "too many concurrent writes to this claim; ask again").WithRetryAfter(retrySoon)

// problem turns an error of the ledger into the agent's answer. The outcome of a
// failed write is unknown; every call may be repeated.
func problem(err error) error {
	switch _, decided := errors.AsType[*api.Problem](err); {
	case err == nil, decided:
		return err
	case errors.Is(err, ledger.ErrContended):
		return errContended
	}
	return unavailable(err)
}

// unavailable answers that the API server or AWS failed. The outcome is unknown;
// every call may be repeated. A caller over its rate limit is told so.
func unavailable(err error) error {
	if limited, ok := errors.AsType[*api.Problem](err); ok && limited.Code == api.RateLimited {
		return limited
	}
	return api.Errorf(api.Unavailable, "a call to the Kubernetes API or AWS failed; retry").WithRetryAfter(retrySoon).WithCause(err)
}

func podGone(namespace, pod, uid string) error {
	return api.Errorf(api.Forbidden, "pod %s/%s with UID %s is gone or has ended", namespace, pod, uid)
}
