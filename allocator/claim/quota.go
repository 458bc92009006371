package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
)

// The quota of a namespace holds exactly, with any number of replicas and concurrent
// claims. A claim lease exists before its quota is checked, and the check counts every
// claim lease of the namespace that exists by then. Of all claims that were admitted, the
// one whose lease was created last has counted all others.
//
// Claims that are not decided yet count too. So a claim waits for those that are younger,
// and is refused because of those that are older or admitted: one of two undecided claims
// always goes on.

// checkCachedQuota refuses a new claim if the cache shows that its namespace has no room
// for it. The cache may be stale: then the pod asks again.
func (s *Service) checkCachedQuota(from pool.Pool, namespace string, ports int) error {
	if from.Terms.Quota.PerNamespace == 0 {
		return nil
	}
	held := 0
	for _, c := range s.Claims.CachedBy(ledger.ClaimsOf(namespace, from.Name)) {
		if decided(c.Value) {
			held += portsOfQuota(c.Value)
		}
	}
	return from.AdmitMore(namespace, held, ports)
}

// withinQuota admits a claim to its pool, once, if its ports and those of its namespace
// fit the quota. It deletes the claim lease if they do not: a claim that is not admitted
// has no ports.
func (s *Service) withinQuota(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	from, known := s.Pools.Pool(r.Value.Pool)
	if !known || from.Terms.Quota.PerNamespace == 0 || decided(r.Value) {
		return r, nil
	}
	if err := s.checkQuota(ctx, r); errors.Is(err, api.ErrQuota) {
		return r, s.deleteUnadmitted(ctx, r, err)
	} else if err != nil {
		return r, err
	}
	next := r.Value
	next.Admitted = true
	r, err := s.write(ctx, r, next, confirmation{})
	if errors.Is(err, ledger.ErrConflict) {
		return r, errContended
	}
	return r, err
}

// checkQuota counts the ports of a claim's namespace. The error is a quota problem if the
// claim must go, and pending if it must wait for younger ones.
func (s *Service) checkQuota(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	from, _ := s.Pools.Pool(r.Value.Pool)
	if from.Terms.Quota.PerNamespace == 0 {
		return nil
	}
	all, err := s.Claims.OfNamespace(ctx, r.Value.Namespace, r.Version)
	if err != nil {
		return unavailable(err)
	}
	first, others, own := 0, 0, portsOfQuota(r.Value)
	for _, o := range all {
		if o.Name == r.Name || o.Value.Pool != from.Name {
			continue
		}
		others += portsOfQuota(o.Value)
		if decided(o.Value) || ledger.ByAge(&o, &r) < 0 {
			first += portsOfQuota(o.Value)
		}
	}
	if err := from.AdmitMore(r.Value.Namespace, first, own); err != nil {
		return err
	}
	if from.AdmitMore(r.Value.Namespace, others, own) != nil {
		return api.Errorf(api.Pending, "other pods of namespace %s claim at the same time, and the quota may not suffice for all; ask again", r.Value.Namespace).WithRetryAfter(retrySoon)
	}
	return nil
}

// deleteUnadmitted deletes the lease of a claim that must not go on, and returns why.
func (s *Service) deleteUnadmitted(ctx context.Context, r ledger.Record[ledger.Claim], refusal error) error {
	err := s.Claims.Delete(ctx, r)
	switch {
	case errors.Is(err, ledger.ErrConflict):
		return errContended // another replica decides about it, too
	case err != nil:
		return unavailable(err)
	}
	return refusal
}

// decided reports whether a claim was admitted, or is older than the quota.
func decided(c ledger.Claim) bool { return c.Admitted || c.Planned || c.State != ledger.Waiting }

// portsOfQuota is how many ports of the quota a claim takes. One that is being released
// keeps its ports until they are unbound.
func portsOfQuota(c ledger.Claim) int {
	if c.State == ledger.ClaimReleasing {
		return len(c.Ports)
	}
	return len(c.Requested)
}
