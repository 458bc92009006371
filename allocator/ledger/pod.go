package ledger

import "errors"

// ErrPodForbidden means that the allocator has no right to read pods in a namespace, which
// therefore is not one of games. Nothing is known about its pods.
var ErrPodForbidden = errors.New("the allocator may not read the pods of this namespace; list it under games in the chart's values")

// Pod is what the API server reports of one pod.
type Pod struct {
	UID string
	// IPs is status.podIPs; empty until the kubelet has reported them.
	IPs []string
	// Terminal is a pod that failed or succeeded: none of its containers runs or
	// will run again.
	Terminal bool
	// HostNetwork is a pod without an IP of its own.
	HostNetwork bool
}

// Gone reports whether the pod with that UID can no longer run, given what a fresh
// read by its name found (nil: nothing).
func Gone(found *Pod, uid string) bool {
	return found == nil || found.UID != uid || found.Terminal
}
