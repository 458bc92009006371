package pool

import "github.com/portlease/portlease/shared/api"

// Inspection is what AWS showed of one load balancer.
type Inspection struct {
	// Gone reports that the load balancer does not exist.
	Gone bool
	// Listeners has its listeners by listener port.
	Listeners map[int]Listener
	// Limit is how many listeners it may have; 0 if that was not read yet.
	Limit int
}

// Listener is a listener and the target groups it forwards to.
type Listener struct {
	ARN             string
	TargetGroupARNs []string
}

// Owner is the holder that a listener's tags name; zero if the listener is foreign.
type Owner struct {
	PodUID string
	Fence  api.Fence
}

// Obstacle returns why no listener on the port can forward to the target group, and
// the ARN of a foreign listener if one is in the way. Both are empty if the listener
// can be created, or exists.
func (i Inspection) Obstacle(listenerPort int, targetGroupARN string) (reason, foreign string) {
	found, exists := i.Listeners[listenerPort]
	switch {
	case i.Gone:
		return "the load balancer is gone", ""
	case exists && !found.forwardsTo(targetGroupARN):
		return "a foreign listener is on the port", found.ARN
	case !exists && i.Limit > 0 && len(i.Listeners) >= i.Limit:
		return "the load balancer has as many listeners as its quota allows", ""
	}
	return "", ""
}

// Forwards reports whether the listener of a port forwards to that target group
// alone.
func (i Inspection) Forwards(listenerPort int, targetGroupARN string) bool {
	return i.Listeners[listenerPort].forwardsTo(targetGroupARN)
}

func (l Listener) forwardsTo(targetGroupARN string) bool {
	return len(l.TargetGroupARNs) == 1 && l.TargetGroupARNs[0] == targetGroupARN
}
