package lifecycle

import (
	"context"
	"errors"
	"slices"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// found is what is left of a binding in AWS.
type found struct {
	targetGroup string
	listener    string
	// damaged is the listener that was made for this port, and changed by hand since.
	damaged    string
	registered bool
	// strangers are targets that are not this pod, such as its address before its
	// sandbox was made anew.
	strangers []elb.Target
}

// inspect compares what is known of a binding with AWS. A port of which nothing
// is known costs no call: creating is idempotent.
func (a *Agent) inspect(ctx context.Context, h *holding, p api.ClaimedPort) (found, error) {
	known := h.known(p)
	if known.targetGroup == "" {
		return found{}, nil
	}
	f := found{targetGroup: known.targetGroup}
	targets, err := a.LoadBalancer.Targets(ctx, known.targetGroup)
	if errors.Is(err, elb.ErrTargetGroupGone) {
		f.targetGroup = ""
	} else if err != nil {
		return found{}, err
	}
	for _, t := range targets {
		switch {
		case t.Leaving():
		case t.IP == a.Pod.IP && t.Port == p.TargetPort:
			f.registered = true
			a.sawTargets(h, p, targets)
		default:
			f.strangers = append(f.strangers, t)
		}
	}
	if known.listener == "" {
		return f, nil
	}
	listeners, err := a.LoadBalancer.Listeners(ctx, h.claim.LoadBalancer.ARN)
	if err != nil {
		return found{}, err
	}
	for _, l := range listeners {
		switch {
		case l.Port == p.ListenerPort && l.Protocol == string(p.Protocol) && slices.Equal(l.TargetGroupARNs, []string{known.targetGroup}):
			// If its target group looks gone, that is only not seen yet: AWS deletes none
			// that a listener forwards to. Making both again gives these.
			if f.targetGroup != "" {
				f.listener = l.ARN
			}
		case l.ARN == known.listener:
			f.damaged = l.ARN
		}
	}
	return f, nil
}
