package janitor

import (
	"context"
	"errors"
	"maps"

	"github.com/portlease/portlease/allocator/ledger"
)

// Sweep carries out the plan for the ledger. It joins the errors of all actions; the
// next sweep plans failed actions again.
func (j *Janitor) Sweep(ctx context.Context) error {
	j.budgetLimited = false
	claims, ports := j.Claims.CachedAll(), j.Ports.CachedAll()
	j.Observer.Observe(claims, ports)
	var errs []error
	for _, a := range Plan(claims, ports, j.Observer.Age, j.Timing) {
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
	j.forgetAbsent(claims, ports)
	return j.logSkipped(ctx, &j.sweepSkips, errs)
}

// BudgetLimited reports whether the AWS budget held up the last sweep. The next one
// should then come after BudgetRetry. Not safe for concurrent use with Sweep.
func (j *Janitor) BudgetLimited() bool { return j.budgetLimited }

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
	case Unbind:
		return j.unbind(ctx, *a.Port)
	case EndCooldown:
		return j.endCooldown(ctx, *a.Port)
	case DeleteClaim:
		return j.deleteClaim(ctx, *a.Claim)
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

// forgetAbsent drops the memory of leases that are gone or no longer releasing.
func (j *Janitor) forgetAbsent(claims []ledger.Record[ledger.Claim], ports []ledger.Record[ledger.Port]) {
	present := make(map[string]bool, len(claims))
	for _, c := range claims {
		present[c.Name] = true
	}
	releasing := make(map[string]bool)
	for _, p := range ports {
		releasing[p.Name] = p.Value.State == ledger.Releasing
	}
	deleteExcept(j.warned, present)
	deleteExcept(j.podChecked, present)
	deleteExcept(j.retries, releasing)
}

func deleteExcept[V any](m map[string]V, keep map[string]bool) {
	maps.DeleteFunc(m, func(key string, _ V) bool { return !keep[key] })
}
