package janitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// targetsEach is of how many bound ports the targets are looked at in one audit.
// Nothing that AWS lists tells them, so each takes a call.
const targetsEach = 4

// Damage tells what of a bound port's binding is not as its agent made it; empty if
// nothing is. c is its holder's claim. listeners are all of its load balancer, and
// groups the ARNs of all target groups, both listed after the port was read.
func Damage(p ledger.Port, c ledger.Claim, listeners []elb.Listener, groups map[string]bool) string {
	i := slices.IndexFunc(listeners, func(l elb.Listener) bool { return l.ARN == p.ListenerARN })
	switch {
	case !groups[p.TargetGroupARN]:
		return "target group gone"
	case i < 0:
		return "listener gone"
	case listeners[i].Port != p.ListenerPort:
		return "listener on another port"
	case !slices.Equal(listeners[i].TargetGroupARNs, []string{p.TargetGroupARN}):
		return "listener forwards elsewhere"
	}
	if w, ok := wanted(p, c); ok && listeners[i].Protocol != string(w.Protocol) {
		return "listener speaks another protocol"
	}
	return ""
}

// wanted is what the holder asked for with this port.
func wanted(p ledger.Port, c ledger.Claim) (w api.Port, ok bool) {
	i := slices.IndexFunc(c.Requested, func(w api.Port) bool { return w.Name == p.PortName })
	if i < 0 {
		return w, false
	}
	return c.Requested[i], true
}

// DamagedTargets is Damage of what a bound port forwards to, by the claim of its
// holder. An address that changes is its agent's business.
func DamagedTargets(p ledger.Port, c ledger.Claim, targets []elb.Target) string {
	w, ok := wanted(p, c)
	if !ok || c.PreviousIP != "" || c.ConfirmedIP != c.PodIP {
		return ""
	}
	own := false
	for _, t := range targets {
		switch {
		case t.Leaving():
		case t.IP == c.PodIP && t.Port == w.TargetPort:
			own = true
		default:
			return "a target that is not the pod"
		}
	}
	if !own {
		return "the pod is no target"
	}
	return ""
}

// mend finds bindings that somebody has damaged by hand and has their agents bind
// them again. before are the ports as they were before AWS was listed. AWS may show
// late what is there, so damage counts once two audits in a row have seen it.
func (j *Janitor) mend(ctx context.Context, before []ledger.Record[ledger.Port], listed map[string][]elb.Listener, groups []elb.TargetGroup) error {
	known := make(map[string]bool, len(groups))
	for _, g := range groups {
		known[g.ARN] = true
	}
	damaged := make(map[string]string)
	var errs []error
	var whole []ledger.Record[ledger.Port]
	for _, r := range before {
		listeners, looked := listed[r.Value.LoadBalancerARN]
		if r.Value.State != ledger.Bound || !looked {
			continue
		}
		c, _ := j.Claims.Cached(r.Value.Holder)
		reason := Damage(r.Value, c.Value, listeners, known)
		if reason == "" {
			whole = append(whole, r)
			continue
		}
		errs = append(errs, j.damage(ctx, r, reason, damaged))
	}
	for _, r := range j.nextTargets(whole) {
		reason, err := j.damagedTargets(ctx, r)
		if reason != "" {
			err = errors.Join(err, j.damage(ctx, r, reason, damaged))
		}
		errs = append(errs, err)
	}
	j.damaged = damaged
	return errors.Join(errs...)
}

// nextTargets gives the ports whose targets are to be looked at now: those that
// looked damaged in the last audit, and then one after the other.
func (j *Janitor) nextTargets(whole []ledger.Record[ledger.Port]) []ledger.Record[ledger.Port] {
	var again, rest []ledger.Record[ledger.Port]
	for _, r := range whole {
		if j.damaged[r.Name] != "" {
			again = append(again, r)
		} else {
			rest = append(rest, r)
		}
	}
	slices.SortFunc(rest, func(a, b ledger.Record[ledger.Port]) int { return strings.Compare(a.Name, b.Name) })
	from := max(0, slices.IndexFunc(rest, func(r ledger.Record[ledger.Port]) bool { return r.Name > j.targetsOf }))
	next := append(rest[from:len(rest):len(rest)], rest[:from]...)
	next = append(again, next...)
	next = next[:min(len(next), targetsEach)]
	if len(next) > 0 {
		j.targetsOf = next[len(next)-1].Name
	}
	return next
}

func (j *Janitor) damagedTargets(ctx context.Context, r ledger.Record[ledger.Port]) (reason string, err error) {
	c, seen := j.Claims.Cached(r.Value.Holder)
	if !seen {
		return "", nil
	}
	targets, err := j.AWS.Targets(ctx, r.Value.TargetGroupARN)
	if errors.Is(err, elb.ErrTargetGroupGone) {
		return "", nil // the next listing shows it
	}
	if err != nil {
		return "", fmt.Errorf("looking at the targets of %s: %w", r.Name, err)
	}
	return DamagedTargets(r.Value, c.Value, targets), nil
}

// damage notes that a binding looks damaged, and the second time makes the port one
// that is not bound yet: its agent hears that with the next renewal. The listener
// stays recorded, because whoever unbinds has to delete it wherever it is by now.
// Whatever changed the port since it was read knows better.
func (j *Janitor) damage(ctx context.Context, r ledger.Record[ledger.Port], reason string, damaged map[string]string) error {
	if j.damaged[r.Name] != r.Version {
		damaged[r.Name] = r.Version
		return nil
	}
	// If this fails it is seen twice again: what stays must not take all looks at targets.
	v := r.Value
	r.Value.State, r.Value.UpdatedAt = ledger.Claimed, j.Now()
	if _, err := j.Ports.Update(ctx, r); errors.Is(err, ledger.ErrConflict) {
		return nil
	} else if err != nil {
		return fmt.Errorf("recording damage of %s (%s): %w", r.Name, reason, err)
	}
	j.Count("rebind", reason)
	j.Log.WarnContext(ctx, "binding damaged by hand: its agent binds it again", "lease", r.Name, "port", v.ListenerPort, "generation", v.Generation,
		"holder", v.Namespace+"/"+v.Pod, "reason", reason, "listener", v.ListenerARN, "targetGroup", v.TargetGroupARN)
	j.tell(ctx, v.Namespace, v.Pod, v.PodUID, "BindingDamaged", fmt.Sprintf("port %d of %s: %s; the agent binds it again", v.ListenerPort, v.LoadBalancerARN, reason))
	return nil
}
