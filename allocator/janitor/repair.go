package janitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// TargetChecks is how many bound ports have their targets checked in one audit. No
// listing shows targets, so each port costs a call. idleTargetChecks is how many more are
// checked while nobody else needs the calls. So all of n ports are checked once in
// n/TargetChecks audits, and in a sixth of that while the budget is idle.
const (
	TargetChecks     = 4
	idleTargetChecks = 20
)

// repairDamaged finds bindings that someone changed in AWS and has their agents bind
// again. before are the ports as they were before AWS was listed. AWS may show new
// resources late, so damage counts once two audits in a row have seen it.
func (j *Janitor) repairDamaged(
	ctx context.Context, before []*ledger.Record[ledger.Port], listeners map[string][]elb.Listener, groups []elb.TargetGroup,
) error {
	groupARNs := make(map[string]bool, len(groups))
	for _, g := range groups {
		groupARNs[g.ARN] = true
	}
	var errs []error
	damaged := make(map[string]string)
	var intact []*ledger.Record[ledger.Port]
	for _, r := range before {
		all, listed := listeners[r.Value.LoadBalancerARN]
		if r.Value.State != ledger.Bound || !listed {
			continue
		}
		c, _ := j.Claims.Cached(r.Value.Holder)
		reason := Damage(r.Value, c.Value, all, groupARNs)
		if reason != "" && j.Observer.RecordedFor(r.Value.TargetGroupARN) < j.Timing.TargetGroupLag {
			continue // AWS may not show yet what is there
		}
		if reason == "" {
			intact = append(intact, r)
			continue
		}
		errs = append(errs, j.handleDamage(ctx, *r, reason, damaged))
	}
	errs = append(errs, j.checkAllTargets(ctx, intact, damaged))
	j.damaged = damaged
	return errors.Join(errs...)
}

// checkAllTargets checks the targets of the next ports in turn.
func (j *Janitor) checkAllTargets(ctx context.Context, intact []*ledger.Record[ledger.Port], damaged map[string]string) error {
	most := TargetChecks
	if len(intact) > TargetChecks {
		granted, err := j.TryDescribes(ctx, idleTargetChecks)
		if err != nil {
			return err
		}
		if granted {
			most += idleTargetChecks
		}
	}
	var errs []error
	for n, r := range j.nextTargetChecks(intact, most) {
		reserved := ctx
		if n >= TargetChecks {
			reserved = j.Prepaid(ctx, 1)
		}
		errs = append(errs, j.checkTargets(reserved, *r, damaged))
	}
	return errors.Join(errs...)
}

// nextTargetChecks returns the ports whose targets are checked in this audit: first
// those whose targets looked damaged in the last one, then the others in turn.
func (j *Janitor) nextTargetChecks(intact []*ledger.Record[ledger.Port], most int) []*ledger.Record[ledger.Port] {
	var again, others []*ledger.Record[ledger.Port]
	for _, r := range intact {
		if j.damaged[r.Name] != "" {
			again = append(again, r)
		} else {
			others = append(others, r)
		}
	}
	slices.SortFunc(others, func(a, b *ledger.Record[ledger.Port]) int { return strings.Compare(a.Name, b.Name) })
	first := max(0, slices.IndexFunc(others, func(r *ledger.Record[ledger.Port]) bool { return r.Name > j.lastTargets }))
	next := slices.Concat(again, others[first:], others[:first])
	next = next[:min(len(next), most)]
	if len(next) > 0 {
		j.lastTargets = next[len(next)-1].Name
	}
	return next
}

// checkTargets compares the targets of one port with its pod. Its agent repairs a missing
// target. Others are deregistered here, because the agent of a hostile game would not.
func (j *Janitor) checkTargets(ctx context.Context, r ledger.Record[ledger.Port], damaged map[string]string) error {
	c, seen := j.Claims.Cached(r.Value.Holder)
	if !seen {
		return nil
	}
	targets, err := j.AWS.Targets(ctx, r.Value.TargetGroupARN)
	if errors.Is(err, elb.ErrTargetGroupGone) {
		return nil // the next listing shows it
	}
	if err != nil {
		return fmt.Errorf("reading the targets of %s: %w", r.Name, err)
	}
	found := CheckTargets(r.Value, c.Value, targets)
	switch {
	case len(found.Others) > 0 && j.damaged[r.Name] == r.Version:
		return j.deregisterOthers(ctx, r, found.Others)
	case found.Damage != "":
		return j.handleDamage(ctx, r, found.Damage, damaged)
	}
	return j.recordHealth(ctx, r, found.Health)
}

// deregisterOthers removes targets that are not the pod from the target group of a bound
// port. If the budget refuses it, the next audit finds them again.
func (j *Janitor) deregisterOthers(ctx context.Context, r ledger.Record[ledger.Port], others []elb.Target) error {
	if granted, err := j.ReserveDeregister(ctx, r.Name, 1, 1); err != nil || !granted {
		return err
	}
	v := r.Value
	tags, err := j.AWS.Tags(j.Prepaid(ctx, 1), v.TargetGroupARN)
	if err != nil {
		return fmt.Errorf("reading the tags of %s: %w", v.TargetGroupARN, err)
	}
	if !j.isOwn(tags[v.TargetGroupARN], r) {
		return notOwn(v.TargetGroupARN)
	}
	if err := j.AWS.DeregisterTargets(ctx, v.TargetGroupARN, others); err != nil {
		return fmt.Errorf("deregistering targets of %s that are not its pod: %w", r.Name, err)
	}
	j.Count("deregister", "target is not the pod")
	j.Log.WarnContext(ctx, "deregistered targets that are not the pod", "lease", r.Name, "port", v.ListenerPort, "holder", v.Namespace+"/"+v.Pod,
		"targets", len(others), "first", others[0].IP, "targetGroup", v.TargetGroupARN)
	j.recordEvent(ctx, v.Namespace, v.Pod, v.PodUID, "TargetsDeregistered",
		fmt.Sprintf("Port %d forwarded to %d targets that are not this pod; the janitor deregistered them", v.ListenerPort, len(others)))
	return nil
}

// recordHealth records what AWS says of a pod's target if that has changed.
func (j *Janitor) recordHealth(ctx context.Context, r ledger.Record[ledger.Port], health string) error {
	if health == "" || health == r.Value.TargetHealth {
		return nil
	}
	r.Value.TargetHealth, r.Value.UpdatedAt = health, j.Now()
	if _, err := j.Ports.Update(ctx, r); err != nil && !errors.Is(err, ledger.ErrConflict) {
		return fmt.Errorf("recording the target health of %s: %w", r.Name, err)
	}
	return nil
}

// handleDamage remembers the first sighting of a damaged binding. At the second one it
// makes the port claimed again; the agent learns of that with its next renewal. The
// listener stays recorded, because it must be deleted wherever it is now. A port that
// changed since it was read counts as seen for the first time.
func (j *Janitor) handleDamage(ctx context.Context, r ledger.Record[ledger.Port], reason string, damaged map[string]string) error {
	if j.damaged[r.Name] != r.Version {
		damaged[r.Name] = r.Version
		return nil
	}
	// A failed write takes two sightings again. Otherwise ports that cannot be written
	// would use up all target checks.
	v := r.Value
	r.Value.State, r.Value.UpdatedAt = ledger.Claimed, j.Now()
	if _, err := j.Ports.Update(ctx, r); errors.Is(err, ledger.ErrConflict) {
		return nil
	} else if err != nil {
		return fmt.Errorf("recording damage of %s (%s): %w", r.Name, reason, err)
	}
	j.Count("rebind", reason)
	j.Log.WarnContext(ctx, "binding was changed in AWS; its agent binds again", "lease", r.Name, "port", v.ListenerPort, "generation", v.Generation,
		"holder", v.Namespace+"/"+v.Pod, "reason", reason, "listener", v.ListenerARN, "targetGroup", v.TargetGroupARN)
	j.recordEvent(ctx, v.Namespace, v.Pod, v.PodUID, "BindingDamaged",
		fmt.Sprintf("The binding was changed in AWS (%s); the agent binds it again: port %d of %s", reason, v.ListenerPort, v.LoadBalancerARN))
	return nil
}
