package janitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portlease/portlease/shared/elb"
)

// foreignAfter is in how many audits the tags of a resource must say that it is not
// this ledger's before they are not read again. AWS may show tags later than the
// resource.
const foreignAfter = 3

// Audit compares AWS with the ledger. It deletes this ledger's orphans, records foreign
// listeners, and has agents repair damaged bindings. A load balancer that cannot be
// listed is skipped and named in the error.
func (j *Janitor) Audit(ctx context.Context) error {
	before := j.Ports.CachedAll()
	listeners, listErr := j.Listings.List(ctx)
	groups, err := j.AWS.TargetGroups(ctx)
	if err != nil {
		return errors.Join(listErr, fmt.Errorf("listing target groups: %w", err))
	}
	unaccounted := j.unaccounted(listeners, groups)
	own, err := j.ownTags(ctx, unaccounted)
	if err != nil {
		return errors.Join(listErr, fmt.Errorf("reading tags: %w", err))
	}
	errs := []error{listErr, j.checkOrphans(ctx, unaccounted, own)}
	j.forgetUnlisted(listeners, groups)
	errs = append(errs, j.recordForeign(ctx, listeners), j.repairDamaged(ctx, before, listeners, groups))
	return j.logSkipped(ctx, &j.auditSkips, errs)
}

// unaccounted returns the ARNs that may be orphans: listeners before target groups,
// because AWS refuses to delete a target group in use. A known name or a recorded ARN
// saves the call that reads tags.
func (j *Janitor) unaccounted(listeners map[string][]elb.Listener, groups []elb.TargetGroup) []string {
	names := make(map[string]bool)
	recorded := make(map[string]bool)
	for _, p := range j.Ports.CachedAll() {
		if p.Value.Holder != "" {
			names[elb.TargetGroupName(j.Ledger, p.Value.Fence(p.Name))] = true
			recorded[p.Value.TargetGroupARN], recorded[p.Value.ListenerARN] = true, true
		}
	}
	var listenerARNs, groupARNs []string
	for _, all := range listeners {
		for _, l := range all {
			if !recorded[l.ARN] && j.foreign[l.ARN] < foreignAfter {
				listenerARNs = append(listenerARNs, l.ARN)
			}
		}
	}
	for _, g := range groups {
		if strings.HasPrefix(g.Name, elb.TargetGroupPrefix) && !names[g.Name] && j.foreign[g.ARN] < foreignAfter {
			groupARNs = append(groupARNs, g.ARN)
		}
	}
	slices.Sort(listenerARNs)
	slices.Sort(groupARNs)
	return append(listenerARNs, groupARNs...)
}

// ownTags reads the tags of resources, returns those of this ledger, and counts the
// others as foreign. Tags are set at creation, so a foreign resource never becomes this
// ledger's.
func (j *Janitor) ownTags(ctx context.Context, arns []string) (map[string]elb.Tags, error) {
	if len(arns) == 0 {
		return nil, nil
	}
	all, err := j.AWS.Tags(ctx, arns...)
	if err != nil {
		return nil, err
	}
	own := make(map[string]elb.Tags)
	for arn, m := range all {
		if t, ok := elb.ReadTags(m); ok && t.Ledger == j.Ledger {
			own[arn] = t
			delete(j.foreign, arn)
		} else {
			j.foreign[arn]++
		}
	}
	return own, nil
}

// forgetUnlisted drops the memory of foreign resources that are gone.
func (j *Janitor) forgetUnlisted(listeners map[string][]elb.Listener, groups []elb.TargetGroup) {
	listed := make(map[string]bool)
	for _, all := range listeners {
		for _, l := range all {
			listed[l.ARN] = true
		}
	}
	for _, g := range groups {
		listed[g.ARN] = true
	}
	deleteExcept(j.foreign, listed)
}
