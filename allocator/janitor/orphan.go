package janitor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// Verdict says what to do with a resource in AWS that carries this ledger's id.
type Verdict string

const (
	// Keep means that the resource is in use or being created.
	Keep Verdict = "keep"
	// Delete means that the holding is over for certain.
	Delete Verdict = "delete"
	// Suspect means that the port lease does not know this holding. Then the claim of its
	// pod decides, and only after several sightings.
	Suspect Verdict = "suspect"
	// Stray means that no holding has such a resource. It is deleted after several
	// sightings.
	Stray Verdict = "stray"
)

// Resource is a listener or target group with this ledger's id in its tags. Its other tags
// are the word of whoever created it.
type Resource struct {
	ARN  string
	Tags elb.Tags
	// Malformed is true if Tags could not be read.
	Malformed bool
	// Listener is nil for a target group.
	Listener *elb.Listener
	// Name is that of a target group, and InUse whether a listener forwards to it.
	Name  string
	InUse bool
}

// ClassifyOrphan applies the deletion rules to one resource. port is the port lease that
// its tags name. It must have been read fresh after the listing that showed the resource;
// nil means that there is none.
func ClassifyOrphan(r Resource, port *ledger.Port) (Verdict, string) {
	switch {
	case r.Malformed:
		return Stray, "malformed tags"
	case port == nil:
		return Suspect, "no port lease"
	case port.Epoch != r.Tags.Epoch:
		return Suspect, "port lease created again"
	case port.Generation > r.Tags.Generation:
		return Delete, "older generation"
	case port.Generation < r.Tags.Generation:
		return Suspect, "generation unknown to the ledger"
	}
	switch port.State {
	case ledger.Claimed, ledger.Bound:
		if why := misplaced(r, *port); why != "" {
			return Stray, why
		}
		return Keep, "holder is binding"
	case ledger.Releasing:
		if port.TargetGroupARN == r.ARN || port.ListenerARN == r.ARN {
			return Keep, "release in progress"
		}
		return Delete, "generation is releasing"
	case ledger.Free, ledger.Cooldown, ledger.Blocked:
		return Delete, "generation is over"
	}
	return Keep, "unknown port state"
}

// misplaced says why a resource is not the one of the present holding whose fence is in its
// tags; empty if it is. A pod can put its fence on as many resources as it likes. Its agent
// creates one target group, and a listener only after that is recorded.
func misplaced(r Resource, p ledger.Port) string {
	switch {
	case r.Tags.PodUID != p.PodUID:
		return "tags of a pod that does not hold the port"
	case r.Listener == nil && r.Name != elb.TargetGroupName(r.Tags.Ledger, r.Tags.Fence()):
		return "target group of another name"
	case r.Listener == nil:
		return ""
	case r.Listener.Port != p.ListenerPort, r.Listener.LoadBalancerARN != p.LoadBalancerARN:
		return "listener on another port"
	case !p.Restored && !forwardsTo(*r.Listener, p.TargetGroupARN):
		return "listener forwards to another target group"
	}
	return ""
}

func forwardsTo(l elb.Listener, targetGroup string) bool {
	return len(l.TargetGroupARNs) == 1 && l.TargetGroupARNs[0] == targetGroup
}

// orphanSightings is in how many audits in a row a suspect or stray must be seen before it
// is deleted.
const orphanSightings = 3

// adoptionPatience is for how many claim durations a live pod may present a binding whose
// claim lease and port lease are both lost. Its agent tries that with every renewal.
const adoptionPatience = 5

// suspicion is how often, and since when, an ARN was seen as a suspect or stray.
type suspicion struct {
	sightings int
	since     time.Time
}

// checkOrphans applies the deletion rules to all resources of this ledger.
func (j *Janitor) checkOrphans(ctx context.Context, own []Resource) error {
	var errs []error
	suspects := make(map[string]suspicion)
	for _, r := range own {
		errs = append(errs, j.checkOrphan(ctx, r, suspects))
	}
	j.suspects = suspects
	return errors.Join(errs...)
}

// checkOrphan applies the deletion rules to one resource. It reads the port lease after
// the listing that showed the resource.
func (j *Janitor) checkOrphan(ctx context.Context, r Resource, suspects map[string]suspicion) error {
	var port *ledger.Port
	if !r.Malformed {
		record, exists, err := j.getPort(ctx, r.Tags.Lease)
		if err != nil {
			return err
		}
		if exists {
			port = &record.Value
		}
	}
	verdict, reason := ClassifyOrphan(r, port)
	patience := time.Duration(0)
	switch verdict {
	case Keep:
		return nil
	case Delete:
		return j.deleteOrphan(ctx, r, reason)
	case Suspect:
		listed, adoptable, err := j.claimOf(ctx, r.Tags, port)
		if err != nil || listed {
			return err
		}
		if adoptable {
			patience = adoptionPatience * j.Timing.ClaimDuration
		}
	case Stray:
	}
	seen := j.suspects[r.ARN]
	if seen.sightings == 0 {
		seen.since = j.Now()
	}
	seen.sightings++
	suspects[r.ARN] = seen
	if seen.sightings < orphanSightings || j.Now().Sub(seen.since) < patience {
		return nil
	}
	return j.deleteOrphan(ctx, r, reason)
}

// claimOf reads whether the live pod that tags name has a claim that lists their fence. If
// not, the pod may still have the binding adopted, but only if both of its leases are lost. If
// only the port lease is lost, the claim counts, whatever became of its pod: the lease is
// restored, and then decides.
// A pod that the allocator may not read counts as live then, because its namespace may be
// one of games again soon; anybody can name such a pod in tags, so the claim decides first.
func (j *Janitor) claimOf(ctx context.Context, t elb.Tags, port *ledger.Port) (listed, adoptable bool, err error) {
	c, err := j.Claims.Get(ctx, ledger.ClaimName(t.PodUID))
	lost := errors.Is(err, ledger.ErrAbsent)
	switch {
	case err != nil && !lost:
		return false, false, err
	case !lost && port == nil && c.Value.Lists(t.Fence()):
		return true, false, nil
	case lost && port != nil, !lost && (c.Value.State == ledger.ClaimReleasing || !c.Value.Lists(t.Fence())):
		return false, false, nil
	}
	pod, err := j.GetPod(ctx, t.Namespace, t.Pod)
	switch {
	case lost && errors.Is(err, ledger.ErrPodForbidden):
		return false, true, nil
	case err != nil:
		return false, false, err
	case ledger.Gone(pod, t.PodUID):
		return false, false, nil
	}
	return !lost, lost, nil
}

// deleteOrphan deletes one resource if the AWS budget allows it. Otherwise, or while it
// is in use, the next audit tries again.
func (j *Janitor) deleteOrphan(ctx context.Context, r Resource, reason string) error {
	if r.InUse {
		return nil // AWS would refuse it, and that costs a call, too
	}
	remove, action := j.AWS.DeleteTargetGroup, "delete target group"
	if strings.Contains(r.ARN, ":listener/") {
		remove, action = j.AWS.DeleteListener, "delete listener"
	}
	if granted, _, err := j.ReserveDeletions(ctx, r.ARN, 1); err != nil || granted == 0 {
		return err
	}
	if err := remove(ctx, r.ARN); errors.Is(err, elb.ErrInUse) {
		return nil
	} else if err != nil {
		return fmt.Errorf("deleting orphan %s (%s): %w", r.ARN, reason, err)
	}
	t := r.Tags
	j.Count(action, "orphan: "+reason)
	j.Log.InfoContext(ctx, "orphan deleted", "arn", r.ARN, "lease", t.Lease, "generation", t.Generation, "holder", t.Namespace+"/"+t.Pod, "reason", reason)
	if !r.Malformed {
		j.recordEvent(ctx, t.Namespace, t.Pod, t.PodUID, "OrphanDeleted", fmt.Sprintf("The janitor deleted %s: %s", r.ARN, reason))
	}
	return nil
}
