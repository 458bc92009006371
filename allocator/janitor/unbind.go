package janitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// deletionsAtOnce is how many deletions are in flight at most. The AWS budget decides how many
// there are; this bounds what one slow call holds up.
const deletionsAtOnce = 16

// unbindAll makes the deletions of releasing ports that are due, as far as the budget allows.
// Each binding is deleted step by step: its listeners, and then its target group, once AWS no
// longer reports that as in use. The steps are made in the order in which they became due.
// So when many ports are released together, all listeners come first, and all target groups
// wait at the same time. The next bindings are inspected while deletions are under way.
func (j *Janitor) unbindAll(ctx context.Context, leases []string) (errs []error) {
	var looking chan sights // nil if no inspection is under way
	reserved, refused := 0, false
	for ctx.Err() == nil {
		due := j.dueToUnbind(leases)
		granted, err := j.reserveDeletions(ctx, due[:min(len(due), deletionsAtOnce)], reserved)
		errs = append(errs, err)
		reserved += granted
		next := j.paidFor(due, reserved)
		if looking == nil && !refused {
			var unseen []ledger.Record[ledger.Port]
			unseen, refused, err = j.nextInspection(ctx, next, due)
			errs = append(errs, err)
			looking = j.look(ctx, unseen)
		}
		deletions, err := j.nextDeletions(ctx, next)
		errs = append(errs, err)
		for i, err := range j.deleteAtOnce(ctx, deletions) {
			if !deletions[i].paid {
				reserved--
			}
			errs = append(errs, j.deleted(ctx, deletions[i], err))
		}
		if looking == nil && len(deletions) == 0 && (refused || len(next) == 0) {
			break
		}
		if looking != nil && (len(deletions) == 0 || len(looking) > 0) {
			errs = append(errs, j.inspected(ctx, <-looking)...)
			looking = nil
		}
	}
	if looking != nil {
		errs = append(errs, j.inspected(ctx, <-looking)...)
	}
	return errs
}

// dueToUnbind returns those of the port leases whose next step is due, the longest due first.
func (j *Janitor) dueToUnbind(leases []string) []string {
	due := slices.DeleteFunc(slices.Clone(leases), func(name string) bool {
		u := j.unbindingOf(name)
		return u.over || j.Now().Before(u.due)
	})
	slices.SortStableFunc(due, func(a, b string) int { return j.unbindings[a].due.Compare(j.unbindings[b].due) })
	return due
}

// unseenDeletions is for how many bindings that are not inspected yet deletions are reserved.
// It may turn out that nothing of them can be deleted now.
const unseenDeletions = 2

// reserveDeletions reserves a deletion for each of the port leases, apart from those that are
// reserved already.
func (j *Janitor) reserveDeletions(ctx context.Context, due []string, reserved int) (granted int, err error) {
	lacking, unseen := -reserved, 0
	for _, name := range due {
		if j.mustInspect(name) {
			unseen++
		}
		if !j.paid(name) && (!j.mustInspect(name) || unseen <= unseenDeletions) {
			lacking++
		}
	}
	if lacking <= 0 || j.limited() {
		return 0, nil
	}
	granted, wait, err := j.ReserveDeletions(ctx, due[0], lacking)
	if err != nil || granted < lacking {
		j.limitedFor(wait)
	}
	return granted, err
}

// paid reports whether the next deletion of a port is reserved. An agent that has unbound its
// port has reserved the first one, which confirms that.
func (j *Janitor) paid(lease string) bool {
	r, _ := j.Ports.Cached(lease)
	return r.Value.Agent == ledger.AgentDone && !j.unbindings[lease].tried
}

// paidFor returns the first of the port leases that so many reserved deletions are enough for.
func (j *Janitor) paidFor(due []string, reserved int) (next []string) {
	for _, name := range due {
		if len(next) == deletionsAtOnce {
			break
		}
		if j.paid(name) {
			next = append(next, name)
		} else if reserved > 0 {
			reserved--
			next = append(next, name)
		}
	}
	return next
}

// deletion is one step of one port.
type deletion struct {
	port ledger.Record[ledger.Port]
	*unbinding
	// listener is what to delete; empty for the target group.
	listener string
	// old is whether AWS has known the target group for long enough before the call.
	old bool
	// paid is whether it was reserved by the agent.
	paid bool
}

// nextDeletions returns the deletions of those of the port leases that were inspected.
func (j *Janitor) nextDeletions(ctx context.Context, next []string) (deletions []deletion, err error) {
	var errs []error
	for _, name := range next {
		if j.mustInspect(name) {
			continue
		}
		port, current, err := j.stillReleasing(ctx, name)
		errs = append(errs, err)
		if !current {
			continue
		}
		d := deletion{port: port, unbinding: j.unbindings[name], old: j.untilOld(port) <= 0, paid: j.paid(name)}
		if len(d.listeners) > 0 {
			d.listener = d.listeners[0]
		}
		deletions = append(deletions, d)
	}
	return deletions, errors.Join(errs...)
}

// deleteAtOnce makes deletions and returns the error of each.
func (j *Janitor) deleteAtOnce(ctx context.Context, deletions []deletion) []error {
	errs := make([]error, len(deletions))
	var flight sync.WaitGroup
	for i, d := range deletions {
		flight.Go(func() {
			if d.listener != "" {
				errs[i] = j.AWS.DeleteListener(ctx, d.listener)
			} else {
				errs[i] = j.AWS.DeleteTargetGroup(ctx, d.group)
			}
		})
	}
	flight.Wait()
	return errs
}

// deleted takes over the result of a deletion. Only the successful deletion of the target
// group proves that the binding is gone: a new listener of this generation would need that
// target group. The agent's word and reads do not count. AWS may not show a new target group
// yet, and a listener for it may still be created. The deletion of a new target group may be
// answered by a part of AWS that does not know it, so only that of an older one is believed.
func (j *Janitor) deleted(ctx context.Context, d deletion, err error) error {
	r := d.port
	d.tried = true
	switch {
	case errors.Is(err, elb.ErrInUse):
		j.Count("unbind failed", "target group in use")
		d.inUse(j.Now(), j.Timing.InUseWindow)
		return nil
	case err != nil:
		return j.unbindFailed(d.unbinding, r.Name, err)
	case d.listener != "":
		d.listeners = d.listeners[1:]
		if len(d.listeners) == 0 {
			d.due = j.Now().Add(max(j.Timing.InUseWindow, j.untilOld(r)))
		}
		j.Count("delete listener", "released")
		j.Log.InfoContext(ctx, "listener deleted", "arn", d.listener, "lease", r.Name, "generation", r.Value.Generation)
		return nil
	case !d.old:
		d.due = j.Now().Add(j.untilOld(r))
		return nil
	}
	j.Count("delete target group", "released")
	j.Log.InfoContext(ctx, "target group deleted", "arn", d.group, "lease", r.Name, "generation", r.Value.Generation)
	return j.unbound(ctx, r, d.unbinding)
}

// unbound starts the cooldown of a port whose binding is gone.
func (j *Janitor) unbound(ctx context.Context, r ledger.Record[ledger.Port], u *unbinding) error {
	err := j.startCooldown(ctx, r)
	if errors.Is(err, ledger.ErrConflict) {
		// The next attempt sees what has changed.
		u.failed(j.Now(), nil)
		return j.refreshCache(ctx, Action{Port: &r})
	}
	if err != nil {
		return j.unbindFailed(u, r.Name, err)
	}
	u.over, u.of = true, holdingOf(r)
	return nil
}

func (j *Janitor) unbindFailed(u *unbinding, lease string, err error) error {
	u.failed(j.Now(), err)
	if !errors.Is(err, errDryRun) {
		j.Count("unbind failed", "error")
	}
	return fmt.Errorf("unbinding %s: %w", lease, err)
}

// stillReleasing is a fresh read of a port lease. It is not current if the port is not of the
// holding that was inspected any more, or not releasing.
func (j *Janitor) stillReleasing(ctx context.Context, name string) (r ledger.Record[ledger.Port], current bool, err error) {
	u := j.unbindings[name]
	before, _ := j.Ports.Cached(name)
	cached := holdingOf(before)
	r, exists, err := j.getPort(ctx, name)
	switch {
	case err != nil:
		return r, false, j.unbindFailed(u, name, err)
	case !exists || r.Value.State != ledger.Releasing:
		u.over, u.of = true, cached // the cache does not show that yet
		return r, false, nil
	case !u.inspected.IsZero() && u.of != holdingOf(r):
		*u = unbinding{due: j.Now()}
		return r, false, nil
	}
	return r, true, nil
}

// untilOld is how long it takes until AWS has known the target group of a releasing port for
// long enough, by this process's own clock. If none is recorded, it is as old as the release,
// because nothing creates one after that.
func (j *Janitor) untilOld(port ledger.Record[ledger.Port]) time.Duration {
	age := j.Observer.Age(port.Name, port.Version)
	if arn := port.Value.TargetGroupARN; arn != "" {
		age = j.Observer.RecordedFor(arn)
	}
	return j.Timing.TargetGroupLag - age
}

// BudgetRetry is how soon to unbind again, at the latest, after the AWS budget refused a call.
const BudgetRetry = 500 * time.Millisecond

// limitedFor notes that the budget has refused a call, and would refuse every other one for
// some time, too.
func (j *Janitor) limitedFor(wait time.Duration) {
	j.limitedUntil = j.Now().Add(min(cmp.Or(max(wait, 0), BudgetRetry), BudgetRetry))
}

func (j *Janitor) limited() bool { return j.Now().Before(j.limitedUntil) }

// NextUnbind is how soon UnbindReleasing can go on: when the AWS budget allows it, or when the
// wait for a target group is over. It is 0 if there is nothing to wait for. Not safe for
// concurrent use with UnbindReleasing.
func (j *Janitor) NextUnbind() (next time.Duration) {
	if j.limited() {
		return j.limitedUntil.Sub(j.Now())
	}
	for _, u := range j.unbindings {
		if wait := u.due.Sub(j.Now()); wait > 0 && !u.over && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next
}
