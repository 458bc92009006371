package api

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// PortPath returns the path of one listener port. loadBalancerID is the last part of the
// load balancer's ARN.
func PortPath(loadBalancerID string, listenerPort int) string {
	return fmt.Sprintf("%s/%s/%d", PathPorts, loadBalancerID, listenerPort)
}

// LoadBalancerPath returns the path of one load balancer.
func LoadBalancerPath(loadBalancerID string) string { return PathLoadBalancers + "/" + loadBalancerID }

// MaxReason is the maximum length of a reason in bytes.
const MaxReason = 200

// ReasonRequest is the body of block and cordon.
type ReasonRequest struct {
	// Reason is one line of text for other admins, at most MaxReason bytes.
	Reason string `json:"reason"`
}

// Validate refuses an empty reason. A reason is shown in lists and logs, so it must be one
// line of printable text.
func (r ReasonRequest) Validate() error {
	switch {
	case strings.TrimSpace(r.Reason) == "":
		return fmt.Errorf("reason is empty: say in a few words why, for other admins")
	case len(r.Reason) > MaxReason:
		return fmt.Errorf("reason has %d bytes: use at most %d", len(r.Reason), MaxReason)
	case strings.ContainsFunc(r.Reason, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }):
		return fmt.Errorf("reason %q is not one line of printable text: leave control characters out", r.Reason)
	}
	return nil
}

// PoolList is the answer of GET PathPools.
type PoolList struct {
	Pools []PoolView `json:"pools"`
}

// PoolView is one pool as a replica sees it now.
type PoolView struct {
	Name      string   `json:"name"`
	Placement string   `json:"placement"`
	Protocols []string `json:"protocols"`
	// Namespaces that may claim; empty means all.
	Namespaces    []string           `json:"namespaces,omitempty"`
	LoadBalancers []LoadBalancerView `json:"loadBalancers"`
	// Ports counts the listener ports of usable load balancers by state. "total" counts
	// all of them, and "available" those that a claim may get now.
	Ports map[string]int `json:"ports"`
	// Waiting is how many claims wait for a free port.
	Waiting int `json:"waiting"`
}

// LoadBalancerView is one load balancer of a pool.
type LoadBalancerView struct {
	ARN  string `json:"arn"`
	ID   string `json:"id"`
	Host string `json:"host,omitempty"`
	VPC  string `json:"vpc,omitempty"`
	// LeftOut says why no port of it is handed out now; empty if it is in use.
	LeftOut string `json:"leftOut,omitempty"`
	// Cordoned says which admin cordoned it and why.
	Cordoned string `json:"cordoned,omitempty"`
	// Removed is true if ports of it are still held but the pool file no longer has it.
	Removed bool `json:"removed,omitempty"`
	// Empty is true if no port of it is held. A cordoned load balancer may then be removed.
	Empty bool `json:"empty"`
	// Held is how many of its ports are claimed, bound or releasing.
	Held int `json:"held"`
	// Listeners is how many listeners AWS listed last, own and foreign.
	Listeners     int `json:"listeners"`
	ListenerLimit int `json:"listenerLimit"`
}

// PortList is the answer of GET PathPorts.
type PortList struct {
	Ports []PortView `json:"ports"`
}

// PortView is one listener port that has been claimed or blocked before.
type PortView struct {
	Lease           string `json:"lease"`
	LoadBalancerARN string `json:"loadBalancerARN"`
	ListenerPort    int    `json:"listenerPort"`
	// State is free, claimed, bound, releasing, cooldown or blocked.
	State      string `json:"state"`
	Generation int    `json:"generation"`
	// BlockedBy says who blocked the port and why; a held port is blocked once it is
	// given back.
	BlockedBy string `json:"blockedBy,omitempty"`
	// Foreign is the ARN of a foreign listener on the port.
	Foreign        string    `json:"foreign,omitempty"`
	Namespace      string    `json:"namespace,omitempty"`
	Pod            string    `json:"pod,omitempty"`
	PodUID         string    `json:"podUID,omitempty"`
	TargetGroupARN string    `json:"targetGroupARN,omitempty"`
	ListenerARN    string    `json:"listenerARN,omitempty"`
	ChangedAt      time.Time `json:"changedAt,omitzero"`
}
