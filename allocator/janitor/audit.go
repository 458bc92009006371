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

// foreignAfter is in how many audits the tags of a resource must say that it is not
// this ledger's before they are not read again. AWS may show tags later than the
// resource.
const foreignAfter = 3

// Audit compares AWS with the ledger. It deletes this ledger's orphans, records foreign
// listeners, has agents repair damaged bindings, and deletes the leases of ports that have
// been free for long. A load balancer that cannot be
// listed is skipped and named in the error.
func (j *Janitor) Audit(ctx context.Context) error {
	began, before := j.Now(), j.Ports.CachedAll()
	listeners, listErr := j.Listings.List(ctx)
	groups, err := j.AWS.TargetGroups(ctx)
	if err != nil {
		return errors.Join(listErr, fmt.Errorf("listing target groups: %w", err))
	}
	own, err := j.own(ctx, j.unaccounted(listeners, groups))
	if err != nil {
		return errors.Join(listErr, fmt.Errorf("reading tags: %w", err))
	}
	hidden, err := j.hiddenListeners(ctx, listeners, groups, own)
	own = append(hidden, own...)
	errs := []error{listErr, err, j.checkOrphans(ctx, own)}
	j.forgetUnlisted(listeners, groups)
	errs = append(errs, j.recordForeign(ctx, listeners), j.repairDamaged(ctx, before, listeners, groups))
	if err == nil {
		seen := epochsOf(own)
		errs = append(errs, j.forgetFree(ctx, seen, listeners))
		j.audited.Store(&audited{began, seen, len(groups)})
	}
	return j.logSkipped(ctx, &j.auditSkips, errs)
}

// TargetGroups is how many target groups the account had in the region at the last audit,
// whoever made them; 0 before the first one.
func (j *Janitor) TargetGroups() int {
	if last := j.audited.Load(); last != nil {
		return last.targetGroups
	}
	return 0
}

// unaccounted returns what may be an orphan: listeners before target groups, because AWS
// refuses to delete a target group in use. Its tags are not read yet. A target group with
// the name of a holding, and a recorded listener in its place, save the call that reads
// tags.
func (j *Janitor) unaccounted(listeners map[string][]elb.Listener, groups []elb.TargetGroup) []Resource {
	names := j.heldNames()
	recorded := make(map[string]ledger.Port) // by listener ARN
	for _, p := range j.Ports.CachedAll() {
		if p.Value.Holder != "" {
			recorded[p.Value.ListenerARN] = p.Value
		}
	}
	var ofListeners, ofGroups []Resource
	for _, all := range listeners {
		for _, l := range all {
			p, known := recorded[l.ARN]
			inPlace := known && l.Port == p.ListenerPort && forwardsTo(l, p.TargetGroupARN)
			if !inPlace && j.foreign[l.ARN] < foreignAfter {
				ofListeners = append(ofListeners, Resource{ARN: l.ARN, Listener: &l})
			}
		}
	}
	for _, g := range groups {
		if strings.HasPrefix(g.Name, elb.TargetGroupPrefix) && !names[g.Name] && j.foreign[g.ARN] < foreignAfter {
			ofGroups = append(ofGroups, Resource{ARN: g.ARN, Name: g.Name, InUse: len(g.LoadBalancerARNs) > 0})
		}
	}
	byARN := func(a, b Resource) int { return strings.Compare(a.ARN, b.ARN) }
	slices.SortFunc(ofListeners, byARN)
	slices.SortFunc(ofGroups, byARN)
	return append(ofListeners, ofGroups...)
}

// heldNames are the names of the target groups of all holdings.
func (j *Janitor) heldNames() map[string]bool {
	names := make(map[string]bool)
	for _, p := range j.Ports.CachedAll() {
		if p.Value.Holder != "" {
			names[elb.TargetGroupName(j.Ledger, p.Value.Fence(p.Name))] = true
		}
	}
	return names
}

// hiddenListeners returns this ledger's listeners on load balancers that no pool has. Nobody
// holds ports there, so they are not listed; the target groups of this ledger lead to them.
func (j *Janitor) hiddenListeners(ctx context.Context, listed map[string][]elb.Listener, groups []elb.TargetGroup, own []Resource) ([]Resource, error) {
	names := j.heldNames()
	ours := make(map[string]bool, len(own))
	for _, r := range own {
		ours[r.ARN] = true
	}
	var hidden []Resource
	var errs []error
	asked := make(map[string]bool)
	for _, g := range groups {
		if !ours[g.ARN] && !names[g.Name] {
			continue
		}
		for _, arn := range g.LoadBalancerARNs {
			if _, known := listed[arn]; known || asked[arn] {
				continue
			}
			asked[arn] = true
			all, err := j.Listings.Listeners(ctx, arn)
			errs = append(errs, err)
			for _, l := range all {
				hidden = append(hidden, Resource{ARN: l.ARN, Listener: &l})
			}
		}
	}
	tagged, err := j.own(ctx, hidden)
	return tagged, errors.Join(append(errs, err)...)
}

// own reads the tags of resources, returns those of this ledger, and counts the others as
// foreign. Tags are set at creation, so a foreign resource never becomes this ledger's.
func (j *Janitor) own(ctx context.Context, resources []Resource) (own []Resource, err error) {
	if len(resources) == 0 {
		return nil, nil
	}
	var arns []string
	for _, r := range resources {
		arns = append(arns, r.ARN)
	}
	all, err := j.AWS.Tags(ctx, arns...)
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		m, exists := all[r.ARN]
		switch {
		case !exists: // deleted since the listing
		case m[elb.TagLedger] != j.Ledger:
			j.foreign[r.ARN]++
		default:
			var ok bool
			r.Tags, ok = elb.ReadTags(m)
			r.Malformed = !ok
			own = append(own, r)
			delete(j.foreign, r.ARN)
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
