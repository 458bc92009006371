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

// deregisterBatch is how many ports have their targets deregistered by one reservation. They
// share one DescribeTags call. The budget's reserve for deletes has room for a batch, so
// creates that are waiting do not delay it.
const deregisterBatch = 4

// retry spaces the attempts to deregister one port.
type retry struct {
	at   time.Time
	wait time.Duration
}

func (j *Janitor) scheduleRetry(lease string, err error) {
	wait := backOff(j.deregisterRetries[lease].wait, err)
	j.deregisterRetries[lease] = retry{j.Now().Add(wait), wait}
}

// dueToDeregister are the port leases whose targets are to be deregistered now, in batches.
func (j *Janitor) dueToDeregister(actions []Action) [][]string {
	var leases []string
	for _, a := range actions {
		if a.Kind == Deregister && !j.Now().Before(j.deregisterRetries[a.Port.Name].at) {
			leases = append(leases, a.Port.Name)
		}
	}
	return slices.Collect(slices.Chunk(leases, deregisterBatch))
}

// deregisterAll deregisters the targets of one batch of releasing ports if the budget
// grants it, so that AWS does not forward to whoever gets the IP of the gone pod. Listener
// and target group may have to wait for mutating calls for minutes; these calls have a token
// bucket of their own.
func (j *Janitor) deregisterAll(ctx context.Context, leases []string) (granted bool, err error) {
	var ports []ledger.Record[ledger.Port]
	var arns []string
	targets := make(map[string][]elb.Target) // by port lease; missing if they must be read
	for _, lease := range leases {
		r, exists, err := j.getPort(ctx, lease)
		if err != nil {
			return false, err
		}
		if !exists || r.Value.State != ledger.Releasing || !r.Value.NeedsDeregistering() {
			continue
		}
		ports, arns = append(ports, r), append(arns, r.Value.TargetGroupARN)
		if c, cached := j.Claims.Cached(r.Value.Holder); cached {
			if known := targetsOf(r.Value, c.Value); len(known) > 0 {
				targets[lease] = known
			}
		}
	}
	if len(ports) == 0 {
		return true, nil
	}
	granted, err = j.ReserveDeregister(ctx, ports[0].Name, len(ports), elb.DescribeCalls(len(ports))+len(ports)-len(targets))
	if err != nil || !granted {
		return false, err
	}
	tags, err := j.AWS.Tags(j.Prepaid(ctx, elb.DescribeCalls(len(arns))), arns...)
	if err != nil {
		return true, fmt.Errorf("reading the tags of released target groups: %w", err)
	}
	var errs []error
	for _, r := range ports {
		known, cached := targets[r.Name]
		done, err := j.deregisterPort(ctx, r, tags, known, cached)
		if !done {
			j.scheduleRetry(r.Name, err)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("deregistering the targets of %s: %w", r.Name, err))
		}
	}
	return true, errors.Join(errs...)
}

// targetsOf are the targets that the pod of a claim may have registered on a port.
func targetsOf(p ledger.Port, c ledger.Claim) (targets []elb.Target) {
	requested, ok := requestedPort(p, c)
	if !ok {
		return nil
	}
	for _, ip := range []string{c.PodIP, c.PreviousIP} {
		if ip != "" {
			targets = append(targets, elb.Target{IP: ip, Port: requested.TargetPort})
		}
	}
	return targets
}

// deregisterPort deregisters the targets of one port and records that. A target group that
// AWS does not show may be new, and then its targets are still registered: done is false,
// and its deletion settles it.
func (j *Janitor) deregisterPort(
	ctx context.Context, r ledger.Record[ledger.Port], tags map[string]map[string]string, targets []elb.Target, known bool,
) (done bool, err error) {
	arn := r.Value.TargetGroupARN
	if t, exists := tags[arn]; exists && !j.isOwn(t, r) {
		return false, notOwn(arn)
	}
	if !known {
		targets, err = j.AWS.Targets(j.Prepaid(ctx, 1), arn)
		targets = slices.DeleteFunc(targets, elb.Target.Draining)
	}
	if err == nil {
		err = j.AWS.DeregisterTargets(ctx, arn, targets)
	}
	if errors.Is(err, elb.ErrTargetGroupGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, wrote, err := ledger.ChangeFrom(ctx, j.Ports, r, func(now ledger.Record[ledger.Port]) (ledger.Port, bool, error) {
		next := now.Value
		same := next.State == ledger.Releasing && next.TargetGroupARN == arn && next.Holds(r.Value.Holder, r.Value.Fence(r.Name))
		next.Deregistered, next.UpdatedAt = true, j.Now()
		return next, same && !now.Value.Deregistered, nil
	})
	if err != nil && !errors.Is(err, ledger.ErrAbsent) {
		return false, err
	}
	if wrote {
		j.Count("deregister", "released")
		j.Log.InfoContext(ctx, "targets deregistered", "lease", r.Name, "port", r.Value.ListenerPort, "generation", r.Value.Generation, "holder", r.Value.Namespace+"/"+r.Value.Pod)
	}
	return true, nil
}
