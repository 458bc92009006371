package janitor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// Verdict says what to do with a resource in AWS that carries this ledger's id but that
// no holding accounts for.
type Verdict string

const (
	// Keep means that the resource is in use, being created, or newer than the ledger.
	Keep Verdict = "keep"
	// Delete means that the holding is over for certain.
	Delete Verdict = "delete"
	// Suspect means that there is no lease of this holding. Then its pod decides, and
	// only after several sightings.
	Suspect Verdict = "suspect"
)

// ClassifyOrphan applies the deletion rules to one target group or listener. port must
// have been read fresh after the listing that showed the resource; nil means that there
// is no port lease. recorded is true if the port lease names this very resource.
func ClassifyOrphan(epoch string, generation int, port *ledger.Port, recorded bool) (Verdict, string) {
	switch {
	case port == nil:
		return Suspect, "no port lease"
	case port.Epoch != epoch:
		return Suspect, "port lease created again"
	case port.Generation > generation:
		return Delete, "older generation"
	case port.Generation < generation:
		return Keep, "generation unknown to the ledger"
	}
	switch port.State {
	case ledger.Claimed, ledger.Bound:
		return Keep, "holder is binding"
	case ledger.Releasing:
		if recorded {
			return Keep, "release in progress"
		}
		return Delete, "generation is releasing"
	case ledger.Free, ledger.Cooldown, ledger.Blocked:
		return Delete, "generation is over"
	}
	return Keep, "unknown port state"
}

// orphanSightings is in how many audits in a row an orphan without a port lease must be
// seen before it is deleted.
const orphanSightings = 3

// checkOrphans applies the deletion rules to all resources of this ledger among arns.
func (j *Janitor) checkOrphans(ctx context.Context, arns []string, own map[string]elb.Tags) error {
	var errs []error
	sightings := make(map[string]int)
	for _, arn := range arns {
		if t, ok := own[arn]; ok {
			errs = append(errs, j.checkOrphan(ctx, arn, t, sightings))
		}
	}
	j.sightings = sightings
	return errors.Join(errs...)
}

// checkOrphan applies the deletion rules to one resource. It reads the port lease after
// the listing that showed the resource.
func (j *Janitor) checkOrphan(ctx context.Context, arn string, t elb.Tags, sightings map[string]int) error {
	r, exists, err := j.getPort(ctx, t.Lease)
	if err != nil {
		return err
	}
	var port *ledger.Port
	if exists {
		port = &r.Value
	}
	recorded := exists && (port.TargetGroupARN == arn || port.ListenerARN == arn)
	verdict, reason := ClassifyOrphan(t.Epoch, t.Generation, port, recorded)
	switch verdict {
	case Keep:
		return nil
	case Suspect:
		adoptable, err := j.mayBeAdopted(ctx, t)
		if err != nil {
			return err
		}
		if adoptable {
			j.Count("keep orphan", "pod is alive and may have it adopted")
			return nil
		}
		if sightings[arn] = j.sightings[arn] + 1; sightings[arn] < orphanSightings {
			return nil
		}
	case Delete:
	}
	return j.deleteOrphan(ctx, arn, t, reason)
}

// mayBeAdopted reports whether a live pod may still have its claim adopted with this
// binding. It may not once its claim is granted with other ports.
func (j *Janitor) mayBeAdopted(ctx context.Context, t elb.Tags) (bool, error) {
	pod, err := j.GetPod(ctx, t.Namespace, t.Pod)
	if err != nil || ledger.Gone(pod, t.PodUID) {
		return false, err
	}
	c, err := j.Claims.Get(ctx, ledger.ClaimName(t.PodUID))
	if errors.Is(err, ledger.ErrAbsent) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return c.Value.State != ledger.Granted || c.Value.Lists(t.Fence()), nil
}

// deleteOrphan deletes one resource if the AWS budget allows it. Otherwise, or while it
// is in use, the next audit tries again.
func (j *Janitor) deleteOrphan(ctx context.Context, arn string, t elb.Tags, reason string) error {
	remove, action := j.AWS.DeleteTargetGroup, "delete target group"
	if strings.Contains(arn, ":listener/") {
		remove, action = j.AWS.DeleteListener, "delete listener"
	}
	if granted, err := j.ReserveUnbind(ctx, arn); err != nil || !granted {
		return err
	}
	if err := remove(ctx, arn); errors.Is(err, elb.ErrInUse) {
		return nil
	} else if err != nil {
		return fmt.Errorf("deleting orphan %s (%s): %w", arn, reason, err)
	}
	j.Count(action, "orphan: "+reason)
	j.Log.InfoContext(ctx, "orphan deleted", "arn", arn, "lease", t.Lease, "generation", t.Generation, "holder", t.Namespace+"/"+t.Pod, "reason", reason)
	j.recordEvent(ctx, t.Namespace, t.Pod, t.PodUID, "OrphanDeleted", fmt.Sprintf("The janitor deleted %s: %s", arn, reason))
	return nil
}
