package rig

import (
	"context"
	"fmt"
	"slices"

	"github.com/portlease/portlease/shared/elb"
)

// Binding lists everything that a pod has in the ledger and AWS, one line for each
// thing. It leaves out target health, so that it changes only when somebody changes
// something.
type Binding []string

// BindingOf gives the pod's binding. It returns an error if one of the pod's ports is
// not bound.
func (r *Rig) BindingOf(ctx context.Context, p *Pod) (Binding, error) {
	ports, err := p.PortsOf(ctx)
	if err != nil {
		return nil, err
	}
	if len(ports) == 0 {
		return nil, fmt.Errorf("pod %s holds no port", p.Name)
	}
	var b Binding
	for _, port := range ports {
		v := port.Value
		if v.TargetGroupARN == "" || v.ListenerARN == "" {
			return nil, fmt.Errorf("port %s of pod %s is %s with target group %q and listener %q", port.Name, p.Name, v.State, v.TargetGroupARN, v.ListenerARN)
		}
		b = append(b, fmt.Sprintf("port %s generation %d is %s with %s and %s", port.Name, v.Generation, v.State, v.TargetGroupARN, v.ListenerARN))
	}
	s := r.Emulator.Snapshot()
	for _, l := range s.Listeners {
		if l.Tags[elb.TagPodUID] == p.UID {
			b = append(b, fmt.Sprintf("listener %s on port %d forwards to %v", l.ARN, l.Port, l.Forwards))
		}
	}
	for _, g := range s.TargetGroups {
		if g.Tags[elb.TagPodUID] != p.UID {
			continue
		}
		b = append(b, fmt.Sprintf("target group %s has attributes %v", g.ARN, g.Attributes))
		for _, t := range g.Targets {
			b = append(b, fmt.Sprintf("target group %s has target %s:%d, draining %v", g.ARN, t.ID, t.Port, t.State == "draining"))
		}
	}
	slices.Sort(b)
	return b, nil
}
