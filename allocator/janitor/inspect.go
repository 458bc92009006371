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

const (
	// inspectionBatch is how many bindings of one load balancer are inspected together. They
	// share one DescribeListeners call, and ten of them, with a listener each, one DescribeTags
	// call. So many take as long as the deletions that an account with raised limits allows.
	inspectionBatch = 50
	// inspectionLasts is how long what was seen of a binding's listeners is acted on. A later
	// listener makes AWS report the target group as in use.
	inspectionLasts = 30 * time.Second
)

// nextInspection returns the first of the next ports that must be inspected, and others that
// are due on the same load balancer. It is refused if the budget has no calls for that.
func (j *Janitor) nextInspection(ctx context.Context, next, due []string) (ports []ledger.Record[ledger.Port], refused bool, err error) {
	var errs []error
	batch := j.inspectionBatch(next, due)
	for _, name := range batch {
		r, current, err := j.stillReleasing(ctx, name)
		errs = append(errs, err)
		if current {
			ports = append(ports, r)
		}
	}
	if len(ports) == 0 {
		return nil, false, errors.Join(errs...)
	}
	granted, err := j.ReserveDeregister(ctx, ports[0].Name, 0, describesOf(ports))
	if err != nil || !granted {
		j.limitedFor(BudgetRetry)
		return nil, true, errors.Join(append(errs, err)...)
	}
	return ports, false, errors.Join(errs...)
}

// describesOf is how many Describe calls the inspection of bindings usually takes. Each has one
// listener, and target groups fill one page.
func describesOf(ports []ledger.Record[ledger.Port]) int {
	describes := 1 + elb.DescribeCalls(2*len(ports))
	for _, r := range ports {
		if r.Value.TargetGroupARN == "" {
			describes++
		}
	}
	return describes
}

// inspectionBatch chooses the port leases to inspect.
func (j *Janitor) inspectionBatch(next, due []string) (batch []string) {
	loadBalancer := func(name string) string {
		r, _ := j.Ports.Cached(name)
		return r.Value.LoadBalancerARN
	}
	first := slices.IndexFunc(next, j.mustInspect)
	if first < 0 {
		return nil
	}
	for _, name := range due {
		if len(batch) < inspectionBatch && j.mustInspect(name) && loadBalancer(name) == loadBalancer(next[first]) {
			batch = append(batch, name)
		}
	}
	return batch
}

func (j *Janitor) mustInspect(lease string) bool {
	u := j.unbindings[lease]
	return u.inspected.IsZero() || len(u.listeners) > 0 && j.Now().Sub(u.inspected) > inspectionLasts
}

// sights are what AWS shows of bindings on one load balancer.
type sights struct {
	all  []sight
	tags map[string]map[string]string
	// err is why nothing is known of any of them.
	err error
}

// look begins to inspect the bindings of ports on one load balancer; nil if there are none.
// Deletions go on meanwhile.
func (j *Janitor) look(ctx context.Context, ports []ledger.Record[ledger.Port]) chan sights {
	if len(ports) == 0 {
		return nil
	}
	seen := make(chan sights, 1)
	go func() { seen <- j.describe(j.Prepaid(ctx, describesOf(ports)), ports) }()
	return seen
}

// describe asks AWS what there is of the bindings of ports on one load balancer. It changes
// nothing in this process.
func (j *Janitor) describe(ctx context.Context, ports []ledger.Record[ledger.Port]) (s sights) {
	old := make([]bool, len(ports))
	for i, r := range ports {
		old[i] = j.untilOld(r) <= 0
	}
	listeners, err := j.Listings.Listeners(ctx, ports[0].Value.LoadBalancerARN)
	var arns []string
	for i, r := range ports {
		one := sight{port: r, group: r.Value.TargetGroupARN, old: old[i], err: err}
		if one.group == "" && err == nil {
			one.group, one.err = j.findTargetGroup(ctx, r)
		}
		if one.group != "" && err == nil {
			one.listeners = relatedListeners(r.Value, one.group, listeners)
			arns = append(arns, one.group)
		}
		for _, l := range one.listeners {
			arns = append(arns, l.ARN)
		}
		s.all = append(s.all, one)
	}
	if len(arns) > 0 {
		s.tags, s.err = j.AWS.Tags(ctx, arns...)
	}
	return s
}

// sight is what AWS shows of one binding.
type sight struct {
	port      ledger.Record[ledger.Port]
	group     string // ARN; empty if AWS shows none
	listeners []elb.Listener
	// old is whether AWS would have shown a target group by then.
	old bool
	err error
}

// inspected notes what there is of bindings.
func (j *Janitor) inspected(ctx context.Context, s sights) (errs []error) {
	for _, one := range s.all {
		u := j.unbindings[one.port.Name]
		err := one.err
		if one.group != "" && err == nil {
			err = s.err
		}
		switch {
		case err != nil:
			errs = append(errs, j.unbindFailed(u, one.port.Name, err))
		case one.group == "":
			errs = append(errs, j.withoutTargetGroup(ctx, one, u))
		default:
			errs = append(errs, j.binding(ctx, one, u, s.tags))
		}
	}
	return errs
}

// withoutTargetGroup handles a port whose lease was lost and restored, and that has no target
// group that AWS shows.
func (j *Janitor) withoutTargetGroup(ctx context.Context, s sight, u *unbinding) error {
	if !s.old {
		u.due = j.Now().Add(j.untilOld(s.port))
		return nil
	}
	return j.unbound(ctx, s.port, u)
}

// binding notes what there is of one binding. A recorded listener that is gone may have been
// deleted a moment ago, by somebody else; so the target group may be in use for a whole window.
// That an agent reports its binding gone says that the window is over.
func (j *Janitor) binding(ctx context.Context, s sight, u *unbinding, tags map[string]map[string]string) error {
	r, now := s.port, j.Now()
	if t, exists := tags[s.group]; exists && !j.isOwn(t, r) {
		return j.unbindFailed(u, r.Name, notOwn(s.group))
	}
	u.inspected, u.of, u.group, u.listeners = now, holdingOf(r), s.group, j.ownListeners(ctx, s, tags)
	if len(u.listeners) > 0 {
		return nil
	}
	wait := j.untilOld(r)
	recorded := func(l elb.Listener) bool { return l.ARN == r.Value.ListenerARN }
	if r.Value.ListenerARN != "" && r.Value.Agent != ledger.AgentDone && !slices.ContainsFunc(s.listeners, recorded) {
		wait = max(wait, j.Timing.InUseWindow)
	}
	if wait > 0 {
		u.due = now.Add(wait)
	}
	return nil
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

// relatedListeners are the listeners that may belong to a binding: the recorded one,
// those that forward to its target group, and any on its port. The last one may have
// been created without being reported, and an admin may have redirected it.
func relatedListeners(p ledger.Port, targetGroup string, all []elb.Listener) (related []elb.Listener) {
	for _, l := range all {
		if l.ARN == p.ListenerARN || l.Port == p.ListenerPort || slices.Contains(l.TargetGroupARNs, targetGroup) {
			related = append(related, l)
		}
	}
	return related
}

// ownListeners are the ARNs of those listeners that carry the tags of this holding.
func (j *Janitor) ownListeners(ctx context.Context, s sight, tags map[string]map[string]string) (own []string) {
	for _, l := range s.listeners {
		t, exists := tags[l.ARN]
		switch {
		case !exists: // deleted since the listing
		case j.isOwn(t, s.port):
			own = append(own, l.ARN)
		case slices.Contains(l.TargetGroupARNs, s.group):
			j.Log.WarnContext(ctx, "a foreign listener forwards to a target group of this ledger; delete that listener to free the port", "arn", l.ARN, "lease", s.port.Name)
		}
	}
	return own
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
