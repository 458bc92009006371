package janitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// sightings is in how many audits in a row a resource without any lease must be
// seen before it is deleted.
const sightings = 3

// Audit lists AWS and deletes the orphans of this ledger: what carries its id,
// and what no holding accounts for. A load balancer that cannot be listed is
// skipped and named in the error. Damaged bindings are given to their agents.
func (j *Janitor) Audit(ctx context.Context) error {
	before := j.Ports.CachedAll()
	listed, listErr := j.Listings.List(ctx)
	groups, err := j.AWS.TargetGroups(ctx)
	if err != nil {
		return errors.Join(listErr, fmt.Errorf("listing target groups: %w", err))
	}
	unknown := j.unaccounted(listed, groups)
	tags, err := j.tagsOf(ctx, unknown)
	if err != nil {
		return errors.Join(listErr, fmt.Errorf("reading tags: %w", err))
	}
	errs := []error{listErr}
	suspects := make(map[string]int)
	for _, arn := range unknown {
		t, ours := tags[arn]
		if !ours {
			continue
		}
		if err := j.auditOne(ctx, arn, t, suspects); err != nil {
			errs = append(errs, err)
		}
	}
	j.suspects = suspects
	j.forgetForeign(listed, groups)
	return j.withhold(ctx, &j.audited, append(errs, j.blockForeign(ctx, listed), j.mend(ctx, before, listed, groups)))
}

// foreignFor is in how many audits a resource's tags must say that it is not this
// ledger's before they are not asked again: tags may be seen later than what
// carries them.
const foreignFor = 3

// unaccounted gives the ARNs that may be orphans, listeners before target
// groups, because a target group in use cannot be deleted. What a name or a
// recorded ARN already tells costs no call.
func (j *Janitor) unaccounted(listed map[string][]elb.Listener, groups []elb.TargetGroup) []string {
	names := make(map[string]bool)
	recorded := make(map[string]bool)
	for _, p := range j.Ports.CachedAll() {
		if p.Value.Holder != "" {
			names[elb.TargetGroupName(j.Ledger, p.Value.Fence(p.Name))] = true
			recorded[p.Value.TargetGroupARN], recorded[p.Value.ListenerARN] = true, true
		}
	}
	var listeners, unknown []string
	for _, all := range listed {
		for _, l := range all {
			if !recorded[l.ARN] && j.foreign[l.ARN] < foreignFor {
				listeners = append(listeners, l.ARN)
			}
		}
	}
	for _, g := range groups {
		if strings.HasPrefix(g.Name, elb.TargetGroupPrefix) && !names[g.Name] && j.foreign[g.ARN] < foreignFor {
			unknown = append(unknown, g.ARN)
		}
	}
	slices.Sort(listeners)
	slices.Sort(unknown)
	return append(listeners, unknown...)
}

// tagsOf reads whose the resources are and remembers those that are not this
// ledger's: tags are given on creation, so they do not become ours later.
func (j *Janitor) tagsOf(ctx context.Context, arns []string) (map[string]elb.Tags, error) {
	if len(arns) == 0 {
		return nil, nil
	}
	all, err := j.AWS.Tags(ctx, arns...)
	if err != nil {
		return nil, err
	}
	ours := make(map[string]elb.Tags)
	for arn, m := range all {
		if t, ok := elb.ReadTags(m); ok && t.Ledger == j.Ledger {
			ours[arn] = t
			delete(j.foreign, arn)
		} else {
			j.foreign[arn]++
		}
	}
	return ours, nil
}

// auditOne applies the deletion rules to one resource. Its port lease is read
// after the listing that showed the resource.
func (j *Janitor) auditOne(ctx context.Context, arn string, t elb.Tags, suspects map[string]int) error {
	var port *ledger.Port
	r, err := j.Ports.Get(ctx, t.Lease)
	switch {
	case err == nil:
		port = &r.Value
	case !errors.Is(err, ledger.ErrAbsent):
		return err
	}
	recorded := port != nil && (port.TargetGroupARN == arn || port.ListenerARN == arn)
	verdict, reason := JudgeOrphan(t.Epoch, t.Generation, port, recorded)
	switch verdict {
	case Keep:
		return nil
	case Suspect:
		wanted, err := j.mayBePresented(ctx, t)
		if err != nil {
			return err
		}
		if wanted {
			j.Count("keep orphan", "its pod lives and will present it")
			return nil
		}
		if suspects[arn] = j.suspects[arn] + 1; suspects[arn] < sightings {
			return nil
		}
	case Delete:
	}
	return j.deleteOrphan(ctx, arn, t, reason)
}

// mayBePresented tells whether a live pod may still have its claim restored with
// this binding. It will not once its claim stands granted with other ports.
func (j *Janitor) mayBePresented(ctx context.Context, t elb.Tags) (bool, error) {
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

func (j *Janitor) deleteOrphan(ctx context.Context, arn string, t elb.Tags, reason string) error {
	remove, what := j.AWS.DeleteTargetGroup, "delete target group"
	if strings.Contains(arn, ":listener/") {
		remove, what = j.AWS.DeleteListener, "delete listener"
	}
	if may, err := j.ReserveUnbind(ctx, arn); err != nil || !may {
		return err // the next audit finds it again
	}
	if err := remove(ctx, arn); errors.Is(err, elb.ErrInUse) {
		return nil // its listener was deleted a moment ago, or goes in the next audit
	} else if err != nil {
		return fmt.Errorf("deleting orphan %s (%s): %w", arn, reason, err)
	}
	j.Count(what, "orphan: "+reason)
	j.Log.InfoContext(ctx, "orphan deleted", "arn", arn, "lease", t.Lease, "generation", t.Generation, "holder", t.Namespace+"/"+t.Pod, "reason", reason)
	j.tell(ctx, t.Namespace, t.Pod, t.PodUID, "OrphanDeleted", fmt.Sprintf("%s was deleted: %s", arn, reason))
	return nil
}

// forgetForeign keeps only what the last listing showed, so that the memory does
// not grow.
func (j *Janitor) forgetForeign(listed map[string][]elb.Listener, groups []elb.TargetGroup) {
	seen := make(map[string]bool)
	for _, all := range listed {
		for _, l := range all {
			seen[l.ARN] = true
		}
	}
	for _, g := range groups {
		seen[g.ARN] = true
	}
	maps.DeleteFunc(j.foreign, func(arn string, _ int) bool { return !seen[arn] })
}
