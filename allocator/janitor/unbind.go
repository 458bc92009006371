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

// retry spaces the attempts to unbind one port: AWS may say ResourceInUse for up
// to 20 s after a listener was deleted, and every attempt costs the account a
// mutating call.
type retry struct {
	at   time.Time
	wait time.Duration
}

const (
	firstRetry = 2 * time.Second
	lastRetry  = 20 * time.Second
	// BudgetRetry is how soon to sweep again when the budget had nothing left.
	BudgetRetry = 500 * time.Millisecond
)

// unbind deletes the binding of a releasing port: the listener first, then that
// very target group until it is gone. Only this confirms that no listener of
// this generation exists or ever will, because creating one needs the target
// group.
func (j *Janitor) unbind(ctx context.Context, r ledger.Record[ledger.Port]) error {
	if j.spent || j.Now().Before(j.later[r.Name].at) {
		return nil
	}
	port, err := j.Ports.Get(ctx, r.Name)
	if errors.Is(err, ledger.ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	if port.Value.State != ledger.Releasing {
		return nil
	}
	// What an agent was given to delete by has the first try at confirming it in it.
	may := port.Value.Agent == ledger.AgentDone && j.later[r.Name].wait == 0
	if !may {
		may, err = j.ReserveUnbind(ctx, r.Name)
	}
	if err != nil || !may {
		// Nor will there be calls for another port in this sweep.
		j.spent = true
		return err
	}
	gone, err := j.bindingGone(j.Prepaid(ctx), port)
	if err == nil && gone {
		return j.coolDown(ctx, port)
	}
	next := min(max(2*j.later[r.Name].wait, firstRetry), lastRetry)
	withheld := errors.Is(err, errDryRun)
	if withheld {
		next = dryRetry
	}
	j.later[r.Name] = retry{j.Now().Add(next), next}
	if err != nil {
		if !withheld {
			j.Count("unbind failed", "error")
		}
		return fmt.Errorf("unbinding %s (released): %w", r.Name, err)
	}
	return nil
}

// bindingGone deletes what is left of a binding and tells whether nothing is. It
// takes only a deletion's word for that, even after the agent said that it is
// done: reading lags, so a target group made a moment ago may look as if it were
// gone, and a listener for it may still be on its way.
func (j *Janitor) bindingGone(ctx context.Context, r ledger.Record[ledger.Port]) (bool, error) {
	v := r.Value
	if v.TargetGroupARN == "" {
		arn, err := j.forgotten(ctx, r)
		if err != nil || arn == "" {
			return err == nil, err
		}
		v.TargetGroupARN = arn
	}
	listeners, err := j.Listings.Listeners(ctx, v.LoadBalancerARN)
	if err != nil {
		return false, err
	}
	arns := []string{v.TargetGroupARN}
	forwards := make(map[string]bool)
	for _, l := range listeners {
		forwards[l.ARN] = slices.Contains(l.TargetGroupARNs, v.TargetGroupARN)
		// One on its port that was never recorded may be this holding's too, and a
		// person may have it forward elsewhere.
		if l.ARN == v.ListenerARN || l.Port == v.ListenerPort || forwards[l.ARN] {
			arns = append(arns, l.ARN)
		}
	}
	tags, err := j.AWS.Tags(ctx, arns...)
	if err != nil {
		return false, err
	}
	for _, arn := range arns[1:] {
		m, exists := tags[arn]
		if !exists {
			continue // gone since the listing
		}
		if !j.ours(m, r) {
			if forwards[arn] {
				j.Log.WarnContext(ctx, "listener of somebody else forwards to our target group: it is left alone", "arn", arn, "lease", r.Name)
			}
			continue
		}
		if err := j.AWS.DeleteListener(ctx, arn); err != nil {
			return false, err
		}
		j.Count("delete listener", "released")
		j.Log.InfoContext(ctx, "listener deleted", "arn", arn, "lease", r.Name, "generation", v.Generation)
	}
	if t, exists := tags[v.TargetGroupARN]; exists && !j.ours(t, r) {
		return false, fmt.Errorf("target group %s does not carry the tags of this holding: look whose it is, and delete it or its port lease by hand", v.TargetGroupARN)
	}
	if err := j.AWS.DeleteTargetGroup(ctx, v.TargetGroupARN); errors.Is(err, elb.ErrInUse) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	j.Count("delete target group", "released")
	j.Log.InfoContext(ctx, "target group deleted", "arn", v.TargetGroupARN, "lease", r.Name, "generation", v.Generation)
	return true, nil
}

// forgotten finds the target group of a port whose lease was lost and restored,
// by its name, which the fence gives; empty if there is none.
func (j *Janitor) forgotten(ctx context.Context, r ledger.Record[ledger.Port]) (string, error) {
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

// ours tells whether tags are those of this very holding.
func (j *Janitor) ours(m map[string]string, r ledger.Record[ledger.Port]) bool {
	t, ok := elb.ReadTags(m)
	return ok && t.Ledger == j.Ledger && t.Fence() == r.Value.Fence(r.Name)
}

// coolDown records that the binding is gone.
func (j *Janitor) coolDown(ctx context.Context, r ledger.Record[ledger.Port]) error {
	r.Value.State, r.Value.Holder, r.Value.Agent = ledger.Cooldown, "", ledger.AgentAbsent
	r.Value.TargetGroupARN, r.Value.ListenerARN, r.Value.Restored = "", "", false
	r.Value.UpdatedAt = j.Now()
	if _, err := j.Ports.Update(ctx, r); err != nil {
		return fmt.Errorf("confirming %s: %w", r.Name, err)
	}
	j.Count("confirm", "binding gone")
	j.Log.InfoContext(ctx, "port confirmed unbound", "lease", r.Name, "port", r.Value.ListenerPort, "generation", r.Value.Generation)
	return nil
}
