// Package api is the contract between agent and allocator: the allocator's HTTP
// API, version 1.
//
// It has only types, error codes and validation, and imports only the standard library.
// Both sides and all tests use it. The Go client is package client.
//
// Durations are in seconds and always relative, because the two sides never compare
// their clocks.
package api

import (
	"fmt"
	"time"
)

// Paths of the API. ClaimPath returns the path of one pod's claim. Its calls are PUT,
// DELETE and GET of that path, and POST of the path with a Call… suffix.
const (
	PathPools         = "/v1/pools"
	PathPorts         = "/v1/ports"
	PathLoadBalancers = "/v1/loadbalancers"

	CallTargetGroup = "/targetgroup"
	CallBound       = "/bound"
	CallRenew       = "/renew"
	CallCollision   = "/collision"
	CallRelease     = "/release"

	// Calls of admins on one port or one load balancer.
	CallBlock    = "/block"
	CallUnblock  = "/unblock"
	CallCordon   = "/cordon"
	CallUncordon = "/uncordon"
)

// HeaderRequestID identifies one call in all answers and log lines. The caller may choose
// it: 1 to 64 letters, digits, dots, underscores and hyphens. Otherwise the allocator
// does.
const HeaderRequestID = "X-Request-Id"

// The audiences of tokens: that of a pod's projected service account token, and that of the
// tokens of admins. The allocator refuses tokens with any other audience, so no token for
// something else, such as the API server, ever reaches it.
const (
	Audience      = "portlease"
	AdminAudience = "portlease-admin"
)

// ClaimPath returns the path of one pod's claim.
func ClaimPath(namespace, pod string) string {
	return fmt.Sprintf("/v1/pods/%s/%s/claim", namespace, pod)
}

// Protocol is the protocol of a listener and its target group.
type Protocol string

// The protocols a pod may request. TCP and UDP on one listener port need TCP_UDP, because
// a load balancer has at most one listener on a port.
const (
	TCP    Protocol = "TCP"
	UDP    Protocol = "UDP"
	TCPUDP Protocol = "TCP_UDP"
)

// Port is one port that a pod requests.
type Port struct {
	// Name identifies the port; unique in the pod.
	Name string `json:"name"`
	// TargetPort is the port in the pod, 1-65535.
	TargetPort int      `json:"targetPort"`
	Protocol   Protocol `json:"protocol"`
}

// ClaimRequest is the body of PUT.
type ClaimRequest struct {
	PodUID string `json:"podUID"`
	// PodIP is the pod's address from status.podIP.
	PodIP string `json:"podIP"`
	Pool  string `json:"pool"`
	Ports []Port `json:"ports"`
	// HealthPort is where the agent answers health checks over HTTP, on HealthPath. A port
	// with UDP only needs it, because network load balancers check health only over TCP
	// and HTTP.
	HealthPort int `json:"healthPort,omitempty"`
	// Throttled is how many calls AWS has throttled since the last report. The allocator
	// then slows down all callers of AWS.
	Throttled int `json:"throttled,omitempty"`
	// Failed is why the last attempt to bind failed, if there was one since the last
	// report. Such a claim binds after all others, and pauses longer after each failure.
	Failed FailureKind `json:"failed,omitempty"`
	// PreviousIPDeregistered is the AddressChanges of the claim whose PreviousIP the agent
	// has deregistered from all its target groups.
	PreviousIPDeregistered int `json:"previousIPDeregistered,omitempty"`
}

// FailureKind is why an attempt to bind failed, if other callers of AWS are not the
// cause. A throttled call is no failure; see ClaimRequest.Throttled.
type FailureKind string

// The kinds of failures.
const (
	// FailedDenied means that AWS denied an action.
	FailedDenied FailureKind = "denied"
	// FailedRefused means that AWS refused the request: a quota, a foreign target group,
	// or invalid parameters.
	FailedRefused FailureKind = "refused"
	// FailedCredentials means that the agent has no AWS credentials.
	FailedCredentials FailureKind = "credentials"
)

// HealthPath is where the agent answers health checks of the load balancer.
const HealthPath = "/healthz"

// Claim is a pod's right to its listener ports. It is the answer to a claim, a renewal and
// a collision.
type Claim struct {
	// UID of the claim lease. Every later call has it, so a late or repeated call of an
	// earlier claim changes nothing.
	UID string `json:"uid"`
	// Ledger is the id of this installation; every resource in AWS is tagged with it.
	Ledger    string `json:"ledger"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	PodIP     string `json:"podIP"`
	// PreviousIP is an address that the pod had before and that may still be a target.
	// The agent deregisters it and reports that by PUT with PreviousIPDeregistered before
	// it binds anything. Until then no other pod can claim with that address.
	PreviousIP string `json:"previousIP,omitempty"`
	// AddressChanges is how often the pod's address has changed.
	AddressChanges int           `json:"addressChanges,omitempty"`
	Pool           string        `json:"pool"`
	LoadBalancer   LoadBalancer  `json:"loadBalancer"`
	Ports          []ClaimedPort `json:"ports"`
	// DurationSeconds is how long the claim lasts without a renewal.
	DurationSeconds float64 `json:"durationSeconds"`
	// RenewSeconds is how often the agent renews (it adds jitter).
	RenewSeconds float64 `json:"renewSeconds"`
	// BindAfterSeconds is 0 if the AWS budget has granted the next calls: create all target
	// groups that are missing, or else the listeners. Otherwise wait that long and ask again, by
	// PUT or renewal, before any call to AWS. Once the target groups are recorded, ask for the
	// calls of the listeners. Each further attempt needs a grant of its own, too.
	BindAfterSeconds float64 `json:"bindAfterSeconds,omitempty"`
	// PropagationSeconds is how long AWS usually takes until all of it knows what was created:
	// the agent uses a target group or listener only once it is that old.
	PropagationSeconds float64 `json:"propagationSeconds,omitempty"`
	// InUseSeconds is for how long AWS reports a target group as in use after its listener was
	// deleted: the agent deletes the target group only then.
	InUseSeconds float64 `json:"inUseSeconds,omitempty"`
}

// Propagation is PropagationSeconds.
func (c Claim) Propagation() time.Duration { return seconds(c.PropagationSeconds) }

// InUseWindow is InUseSeconds.
func (c Claim) InUseWindow() time.Duration { return seconds(c.InUseSeconds) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// LoadBalancer is the load balancer that has all ports of a claim.
type LoadBalancer struct {
	ARN string `json:"arn"`
	// Host is what players dial.
	Host string `json:"host"`
	// VPC is the VPC of the load balancer and of its target groups.
	VPC string `json:"vpc"`
	// Addresses are the Elastic IPs that Host resolves to; empty if the load balancer has
	// none.
	Addresses []string `json:"addresses,omitempty"`
}

// ClaimedPort is one granted port. Its settings never change while the claim lasts, so a
// repeated create call is always the same call.
type ClaimedPort struct {
	Port
	ListenerPort int   `json:"listenerPort"`
	Fence        Fence `json:"fence"`
	// TargetGroupName is the name that the target group must have.
	TargetGroupName string      `json:"targetGroupName"`
	HealthCheck     HealthCheck `json:"healthCheck"`
	// Attributes are those of the target group that differ from AWS's defaults. Setting
	// them costs a mutating call.
	Attributes map[string]string `json:"attributes,omitempty"`
	// TargetGroupARN and ListenerARN are recorded in the ledger; empty until the agent has
	// reported them.
	TargetGroupARN string `json:"targetGroupARN,omitempty"`
	ListenerARN    string `json:"listenerARN,omitempty"`
	// TargetHealth is what AWS last said of the pod's target, such as "healthy",
	// "unhealthy: Target.FailedHealthChecks" or "unused: Target.NotInUse". The allocator
	// asks AWS only while nobody else needs its calls, so it may be minutes old; empty if
	// it has not asked yet.
	TargetHealth string `json:"targetHealth,omitempty"`
}

// Fence names one holding of one port. Names, tags and deletions are checked against it,
// so a late call of an earlier holder does no harm.
type Fence struct {
	// Lease is the name of the port lease.
	Lease string `json:"lease"`
	// Epoch is a random word, minted with the port lease. A lease that is lost and created
	// again has another epoch.
	Epoch string `json:"epoch"`
	// Generation is how many holders the port has had.
	Generation int `json:"generation"`
}

// HealthCheck is how the load balancer checks a target.
type HealthCheck struct {
	// Protocol is TCP or HTTP.
	Protocol string `json:"protocol"`
	// Port is the port to check; 0 means the target port.
	Port int `json:"port,omitempty"`
	// Path is the HTTP path; empty for TCP.
	Path               string `json:"path,omitempty"`
	IntervalSeconds    int    `json:"intervalSeconds"`
	TimeoutSeconds     int    `json:"timeoutSeconds"`
	HealthyThreshold   int    `json:"healthyThreshold"`
	UnhealthyThreshold int    `json:"unhealthyThreshold"`
}

// TargetGroupRequest records the target group of a port. The record is the license to
// create the listener.
type TargetGroupRequest struct {
	ClaimUID       string `json:"claimUID"`
	Fence          Fence  `json:"fence"`
	TargetGroupARN string `json:"targetGroupARN"`
}

// BoundRequest reports the listener of a port.
type BoundRequest struct {
	ClaimUID    string `json:"claimUID"`
	Fence       Fence  `json:"fence"`
	ListenerARN string `json:"listenerARN"`
}

// CollisionRequest reports that a foreign listener is on a claimed port. The allocator
// checks that itself.
type CollisionRequest struct {
	ClaimUID string `json:"claimUID"`
	Fence    Fence  `json:"fence"`
}

// ReleaseRequest begins to release all ports of a claim.
type ReleaseRequest struct {
	ClaimUID string `json:"claimUID"`
	// Deregistered is true once the agent has deregistered its targets from all target
	// groups of the claim.
	Deregistered bool `json:"deregistered,omitempty"`
}

// ReleaseAnswer is the answer to a release. It says what the agent does; the janitor does
// the rest.
type ReleaseAnswer struct {
	// Deregister is true if the calls are reserved with which the agent deregisters its
	// targets: deregister them now, before anything else, and release again with
	// Deregistered. Otherwise the janitor deregisters them.
	Deregister bool `json:"deregister,omitempty"`
	// Unbind is true if the agent must delete its listeners and target groups now.
	// Otherwise the janitor deletes them.
	Unbind bool `json:"unbind"`
	// Ports are the ports that were bound, completely or in part.
	Ports []ClaimedPort `json:"ports"`
}

// Query parameters of DELETE, which has no body: the UID of the claim lease, and one
// "gone" for each port lease whose listener and target group are gone.
const (
	QueryClaimUID = "claimUID"
	QueryGone     = "gone"
)
