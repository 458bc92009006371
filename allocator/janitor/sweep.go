package janitor

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

// Sweep carries out what the ledger asks for without AWS: expiry, releases and cooldowns.
// It joins the errors of all actions; the next sweep plans failed actions again.
func (j *Janitor) Sweep(ctx context.Context) error {
	claims, ports := j.Claims.CachedAll(), j.Ports.CachedAll()
	j.Observer.Observe(claims, ports)
	errs := j.carryOutAll(ctx, Plan(claims, ports, j.Observer.Age, j.Timing))
	present := make(map[string]bool, len(claims))
	for _, c := range claims {
		present[c.Name] = true
	}
	deleteExcept(j.warned, present)
	deleteExcept(j.podChecked, present)
	return j.logSkipped(ctx, &j.sweepSkips, errs)
}

// UnbindReleasing deregisters the targets of releasing ports, and deletes their bindings as
// far as the AWS budget allows. It joins the errors of all ports; the next call tries them
// again. Sweeps never wait for it, because AWS may hang.
//
// Each batch of ports is unbound once it is deregistered, before the next is. Both take calls
// of the account's bucket: while all ports were deregistered first, nothing used the mutating
// bucket, and a full bucket regains nothing. Ports that could not be deregistered come last.
func (j *Janitor) UnbindReleasing(ctx context.Context) error {
	j.limitedUntil = time.Time{}
	ports := j.Ports.CachedBy(ledger.ReleasingPorts)
	actions := j.planReleasing(ports)
	errs := j.unbindAll(ctx, leasesOf(actions, isUnbindNext))
	limited := false
	for _, batch := range j.dueToDeregister(actions) {
		granted, err := j.deregisterAll(ctx, batch)
		errs = append(errs, err)
		if limited = !granted; limited || ctx.Err() != nil {
			break
		}
		errs = append(errs, j.unbindAll(ctx, leasesOf(j.planReleasing(j.cachedReleasing(batch)), isUnbind))...)
	}
	errs = append(errs, j.unbindAll(ctx, leasesOf(actions, isUnbind))...)
	if limited {
		j.limitedFor(BudgetRetry)
	}
	releasing := make(map[string]bool, len(ports))
	for _, p := range ports {
		releasing[p.Name] = true
	}
	deleteExcept(j.unbindings, releasing)
	deleteExcept(j.deregisterRetries, releasing)
	return j.logSkipped(ctx, &j.unbindSkips, errs)
}

// planReleasing plans the actions on releasing ports.
func (j *Janitor) planReleasing(ports []*ledger.Record[ledger.Port]) []Action {
	return Plan(nil, ports, j.Observer.Age, j.Timing)
}

// leasesOf are the port leases of some of the actions.
func leasesOf(actions []Action, some func(Action) bool) (leases []string) {
	for _, a := range actions {
		if some(a) {
			leases = append(leases, a.Port.Name)
		}
	}
	return leases
}

func isUnbind(a Action) bool { return a.Kind == Unbind }

// isUnbindNext reports whether an action unbinds a port that need not be deregistered any
// more.
func isUnbindNext(a Action) bool { return isUnbind(a) && !a.Port.Value.NeedsDeregistering() }

// cachedReleasing are those of the ports that are releasing.
func (j *Janitor) cachedReleasing(names []string) (ports []*ledger.Record[ledger.Port]) {
	for _, name := range names {
		if p, cached := j.Ports.Cached(name); cached && p.Value.State == ledger.Releasing {
			ports = append(ports, &p)
		}
	}
	return ports
}

// carryOutAll carries out actions and returns their errors.
func (j *Janitor) carryOutAll(ctx context.Context, actions []Action) (errs []error) {
	for _, a := range actions {
		if ctx.Err() != nil {
			break
		}
		err := j.carryOut(ctx, a)
		if errors.Is(err, ledger.ErrConflict) {
			err = j.refreshCache(ctx, a)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// carryOut does one action. After ledger.ErrConflict the next sweep sees what has
// changed.
func (j *Janitor) carryOut(ctx context.Context, a Action) error {
	switch a.Kind {
	case CheckExpiry:
		return j.checkExpiry(ctx, *a.Claim)
	case BeginRelease:
		return j.beginRelease(ctx, *a.Port, a.Agent, "claim released")
	case CheckOwner:
		return j.checkOwner(ctx, *a.Port)
	case EndCooldown:
		return j.endCooldown(ctx, *a.Port)
	case DeleteClaim:
		return j.deleteClaim(ctx, *a.Claim)
	case Deregister, Unbind: // wait for AWS: see UnbindReleasing
	}
	return nil
}

// refreshCache reads the lease of an action again. Its cached version may be one that
// the watch will never correct.
func (j *Janitor) refreshCache(ctx context.Context, a Action) (err error) {
	if a.Claim != nil {
		_, err = j.Claims.Get(ctx, a.Claim.Name)
	} else {
		_, err = j.Ports.Get(ctx, a.Port.Name)
	}
	if errors.Is(err, ledger.ErrAbsent) {
		return nil
	}
	return err
}

func deleteExcept[V any](m map[string]V, keep map[string]bool) {
	maps.DeleteFunc(m, func(key string, _ V) bool { return !keep[key] })
}
