package janitor

import (
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Damage says how a bound port's binding differs from what its agent created; empty if
// it does not. c is the holder's claim. listeners are all listeners of the load
// balancer, and groups are the ARNs of all target groups; both were listed after the
// port was read.
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
	if r, ok := requestedPort(p, c); ok && listeners[i].Protocol != string(r.Protocol) {
		return "listener has another protocol"
	}
	return ""
}

// TargetCheck is how the targets of a bound port compare with its pod.
type TargetCheck struct {
	// Damage says how they differ; empty if they do not.
	Damage string
	// Others are targets that are not the pod.
	Others []elb.Target
	// Health is what AWS says of the pod's own target; empty if there is none.
	Health string
}

// CheckTargets compares the targets of a bound port with its pod. While the pod's address
// changes, its agent is still at work on the targets.
func CheckTargets(p ledger.Port, c ledger.Claim, targets []elb.Target) (found TargetCheck) {
	requested, ok := requestedPort(p, c)
	if !ok || c.PreviousIP != "" || c.ConfirmedIP != c.PodIP {
		return found
	}
	for _, t := range targets {
		switch {
		case t.Draining():
		case t.IP == c.PodIP && t.Port == requested.TargetPort:
			found.Health = t.Health()
		default:
			found.Others = append(found.Others, t)
		}
	}
	switch {
	case len(found.Others) > 0:
		found.Damage = "target is not the pod"
	case found.Health == "":
		found.Damage = "pod is not a target"
	}
	return found
}

// requestedPort is the request that a port was granted for.
func requestedPort(p ledger.Port, c ledger.Claim) (requested api.Port, ok bool) {
	i := slices.IndexFunc(c.Requested, func(r api.Port) bool { return r.Name == p.PortName })
	if i < 0 {
		return requested, false
	}
	return c.Requested[i], true
}
