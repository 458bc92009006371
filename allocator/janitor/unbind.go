package janitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// retry spaces the attempts on one port. AWS may answer ResourceInUse for up to 20 s after
// a listener was deleted, and every attempt costs a call.
type retry struct {
	at   time.Time
	wait time.Duration
}

const (
	firstRetry = 2 * time.Second
	lastRetry  = 20 * time.Second
	// BudgetRetry is how soon to sweep again after the AWS budget refused a call.
	BudgetRetry = 500 * time.Millisecond
)

// unbind deletes the binding of a releasing port and starts its cooldown.
func (j *Janitor) unbind(ctx context.Context, r ledger.Record[ledger.Port]) error {
	if j.budgetLimited || j.Now().Before(j.retries[r.Name].at) {
		return nil
	}
	port, exists, err := j.getPort(ctx, r.Name)
	if err != nil || !exists || port.Value.State != ledger.Releasing {
		return err
	}
	granted, err := j.reserveUnbind(ctx, port)
	if err != nil || !granted {
		// The budget would refuse every other port in this pass, too.
		j.budgetLimited = true
		return err
	}
	gone, err := j.deleteBinding(j.Prepaid(ctx), port)
	if err == nil && gone {
		if wait := j.Timing.TargetGroupLag - j.groupAge(port); wait > 0 {
			j.retries[port.Name] = retry{j.Now().Add(wait), firstRetry}
			return nil
		}
		return j.startCooldown(ctx, port)
	}
	j.scheduleRetry(j.retries, port.Name, err)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errDryRun) {
		j.Count("unbind failed", "error")
	}
	return fmt.Errorf("unbinding %s: %w", r.Name, err)
}

// groupAge is how old the target group of a releasing port is at least, by this process's
// own clock. If none is recorded, it is as old as the release, because nothing creates one
// after that.
func (j *Janitor) groupAge(port ledger.Record[ledger.Port]) time.Duration {
	if arn := port.Value.TargetGroupARN; arn != "" {
		return j.Observer.RecordedFor(arn)
	}
	return j.Observer.Age(port.Name, port.Version)
}

// reserveUnbind reserves the calls of one attempt. An agent that unbound its port has
// reserved the first attempt to confirm it, too.
func (j *Janitor) reserveUnbind(ctx context.Context, port ledger.Record[ledger.Port]) (bool, error) {
	if port.Value.Agent == ledger.AgentDone && j.retries[port.Name].wait == 0 {
		return true, nil
	}
	return j.ReserveUnbind(ctx, port.Name)
}

func (j *Janitor) scheduleRetry(retries map[string]retry, name string, err error) {
	wait := min(max(2*retries[name].wait, firstRetry), lastRetry)
	if errors.Is(err, errDryRun) {
		wait = dryRunRetry
	}
	retries[name] = retry{j.Now().Add(wait), wait}
}

// deleteBinding deletes what is left of a binding, the listener first, and reports
// whether it is gone. Only the successful deletion of the target group proves that: a
// new listener of this generation would need that target group. The agent's word and
// reads do not count. AWS may not show a new target group yet, and a listener for it
// may still be created. The deletion of a new target group may be answered by a part of
// AWS that does not know it, so unbind believes only that of an older one.
func (j *Janitor) deleteBinding(ctx context.Context, r ledger.Record[ledger.Port]) (gone bool, err error) {
	targetGroup := r.Value.TargetGroupARN
	if targetGroup == "" {
		targetGroup, err = j.findTargetGroup(ctx, r)
		if err != nil || targetGroup == "" {
			return err == nil, err
		}
	}
	listeners, err := j.relatedListeners(ctx, r.Value, targetGroup)
	if err != nil {
		return false, err
	}
	arns := []string{targetGroup}
	for _, l := range listeners {
		arns = append(arns, l.ARN)
	}
	tags, err := j.AWS.Tags(ctx, arns...)
	if err != nil {
		return false, err
	}
	if err := j.deleteListeners(ctx, r, listeners, targetGroup, tags); err != nil {
		return false, err
	}
	if t, exists := tags[targetGroup]; exists && !j.isOwn(t, r) {
		return false, notOwn(targetGroup)
	}
	return j.deleteTargetGroup(ctx, r, targetGroup)
}

// findTargetGroup finds the target group of a port whose lease was lost and restored.
// Its name follows from the fence. The ARN is empty if there is none.
func (j *Janitor) findTargetGroup(ctx context.Context, r ledger.Record[ledger.Port]) (arn string, err error) {
	groups, err := j.AWS.TargetGroups(ctx)
	if err != nil {
		return "", err
	}
	name := elb.TargetGroupName(j.Ledger, r.Value.Fence(r.Name))
	for _, g := range groups {
		if g.Name == name {
			return g.ARN, nil
		}
	}
	return "", nil
}

// relatedListeners lists the listeners that may belong to a binding: the recorded one,
// those that forward to its target group, and any on its port. The last one may have
// been created without being reported, and an admin may have redirected it.
func (j *Janitor) relatedListeners(ctx context.Context, p ledger.Port, targetGroup string) ([]elb.Listener, error) {
	all, err := j.Listings.Listeners(ctx, p.LoadBalancerARN)
	if err != nil {
		return nil, err
	}
	var related []elb.Listener
	for _, l := range all {
		if l.ARN == p.ListenerARN || l.Port == p.ListenerPort || slices.Contains(l.TargetGroupARNs, targetGroup) {
			related = append(related, l)
		}
	}
	return related, nil
}

// deleteListeners deletes those of the listeners that carry the tags of this holding.
func (j *Janitor) deleteListeners(
	ctx context.Context, r ledger.Record[ledger.Port], listeners []elb.Listener, targetGroup string, tags map[string]map[string]string,
) error {
	for _, l := range listeners {
		t, exists := tags[l.ARN]
		if !exists {
			continue // deleted since the listing
		}
		if !j.isOwn(t, r) {
			if slices.Contains(l.TargetGroupARNs, targetGroup) {
				j.Log.WarnContext(ctx, "a foreign listener forwards to a target group of this ledger; delete that listener to free the port", "arn", l.ARN, "lease", r.Name)
			}
			continue
		}
		if err := j.AWS.DeleteListener(ctx, l.ARN); err != nil {
			return err
		}
		j.Count("delete listener", "released")
		j.Log.InfoContext(ctx, "listener deleted", "arn", l.ARN, "lease", r.Name, "generation", r.Value.Generation)
	}
	return nil
}

// deleteTargetGroup reports whether the target group is gone. A listener that forwards
// to it, or did a moment ago, keeps it.
func (j *Janitor) deleteTargetGroup(ctx context.Context, r ledger.Record[ledger.Port], arn string) (gone bool, err error) {
	if err := j.AWS.DeleteTargetGroup(ctx, arn); errors.Is(err, elb.ErrInUse) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	j.Count("delete target group", "released")
	j.Log.InfoContext(ctx, "target group deleted", "arn", arn, "lease", r.Name, "generation", r.Value.Generation)
	return true, nil
}

// notOwn is the error about a recorded target group that is not this holding's.
func notOwn(targetGroup string) error {
	return fmt.Errorf("target group %s does not carry the tags of this holding: check whose it is, then delete it or the port lease", targetGroup)
}

// isOwn reports whether tags are those of this very holding.
func (j *Janitor) isOwn(tags map[string]string, r ledger.Record[ledger.Port]) bool {
	t, ok := elb.ReadTags(tags)
	return ok && t.Ledger == j.Ledger && t.Fence() == r.Value.Fence(r.Name)
}
