package claim

import (
	"context"
	"errors"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
)

// errTaken means that a claim can never hold a port by its present plan.
var errTaken = errors.New("the port is another claim's")

// take makes planned port i the claim's, always by a write: the cache cannot prove
// whose the port is. held is false if this plan can never have it.
func (s *Service) take(ctx context.Context, r ledger.Record[ledger.Claim], i int) (port ledger.Port, held bool, err error) {
	f, holding := r.Value.Ports[i].Fence, s.holding(r, i)
	taken, _, err := ledger.CreateOrChange(ctx, s.Ports, f.Lease, func(now ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		switch {
		case !now.Exists():
			if f.Generation == 1 {
				return holding, true, nil
			}
			// The lease was deleted: a new plan starts a new epoch.
		case now.Value.HeldBy(r.Name, f):
			next := now.Value
			next.UpdatedAt = s.Now()
			return next, true, nil
		case precedes(now.Value, f) && available(now.Value, r.Value):
			return holding, true, nil
		}
		return now.Value, false, errTaken
	})
	if errors.Is(err, errTaken) || errors.Is(err, ledger.ErrUnreadable) {
		return port, false, nil // nobody may take a port whose holder is unknown
	}
	return taken.Value, err == nil, problem(err)
}

// keep returns port i of a granted claim. held is false if it is not the claim's any
// more. A port lease that an admin deleted is restored with the same fence, so that
// the binding in AWS stays the claim's.
func (s *Service) keep(ctx context.Context, r ledger.Record[ledger.Claim], i int) (port ledger.Port, held bool, err error) {
	f, holding := r.Value.Ports[i].Fence, s.holding(r, i)
	holding.Restored = true
	port, err = s.restore(ctx, f, holding)
	if err != nil { // a port that cannot be read may well be this claim's: wait
		return port, false, unavailable(err)
	}
	return port, port.HeldBy(r.Name, f), nil
}

// restore returns the port lease of a holding. It writes the lease again if it was
// lost: if there is none, or if nobody holds it and it is older than the holding, as
// after an admin restored a backup.
func (s *Service) restore(ctx context.Context, f api.Fence, holding ledger.Port) (ledger.Port, error) {
	epoch := s.NewEpoch()
	r, _, err := ledger.CreateOrChange(ctx, s.Ports, f.Lease, func(now ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		next := holding
		next.BlockedBy, next.NextEpoch = now.Value.BlockedBy, epoch
		return next, !now.Exists() || predates(now.Value, f), nil
	})
	return r.Value, err
}

// predates reports whether a port lease has no holder and has had none since before a
// holding.
func predates(p ledger.Port, f api.Fence) bool {
	return p.State != "" && !p.Held() && (p.Generation == 0 || p.Epoch == f.Epoch && p.Generation < f.Generation)
}

// precedes reports whether a fence is the next one of a port lease.
func precedes(p ledger.Port, f api.Fence) bool { return p.NextFence(f.Lease, f.Epoch) == f }

// available reports whether a claim may take a port: it is free, or it cools down
// from this very namespace/pod, whose players may well come back to it.
func available(p ledger.Port, c ledger.Claim) bool {
	if p.BlockedBy != "" || p.Foreign != "" {
		return false
	}
	switch p.State {
	case ledger.Free:
		return true
	case ledger.Cooldown:
		return p.Namespace == c.Namespace && p.Pod == c.Pod
	case ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Blocked:
		return false
	}
	return false
}

// holding is the record of planned port i once the claim holds it.
func (s *Service) holding(r ledger.Record[ledger.Claim], i int) ledger.Port {
	return r.Value.Holding(r.Name, i, s.Now())
}

// beginRelease is a decision for changePort: it begins to release a port that a claim
// does not need any more. agent is the agent's part in deleting its binding.
func beginRelease(claim string, f api.Fence, agent ledger.AgentPart) func(*ledger.Port) error {
	return func(p *ledger.Port) error {
		if p.HeldBy(claim, f) {
			*p = p.BeginRelease(agent)
		}
		return nil
	}
}

// changePort changes an existing port if decide does, and reports whether it was
// written. It returns ledger.ErrAbsent and ledger.ErrUnreadable as they are; every
// other error is an *api.Problem.
func (s *Service) changePort(ctx context.Context, lease string, decide func(*ledger.Port) error) (wrote bool, err error) {
	_, wrote, err = ledger.Change(ctx, s.Ports, lease, func(r ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		next := r.Value
		if err := decide(&next); err != nil || next == r.Value {
			return r.Value, false, err
		}
		next.UpdatedAt = s.Now()
		return next, true, nil
	})
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return false, err
	}
	return wrote, problem(err)
}

// ignoreMissing accepts that a port lease is absent or unreadable: the janitor finds
// that no claim lists it.
func ignoreMissing(err error) error {
	if errors.Is(err, ledger.ErrAbsent) || errors.Is(err, ledger.ErrUnreadable) {
		return nil
	}
	return err
}
