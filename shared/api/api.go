// Package api is the contract between agent and allocator: the allocator's HTTP
// API, version 1.
//
// It holds types, codes and validation only, and uses the standard library
// alone, so that both sides and every test speak from one source. The Go client
// is in package client below this one.
//
// Durations are seconds and always relative: no side ever compares its clock
// with the other's.
package api

import "fmt"

// Paths of the API. ClaimPath gives the path of one pod's claim; the calls on it
// are the path itself (PUT, DELETE, GET) and the Call… suffixes (POST).
const (
	PathPools         = "/v1/pools"
	PathPorts         = "/v1/ports"
	PathLoadBalancers = "/v1/loadbalancers"

	CallTargetGroup = "/targetgroup"
	CallBound       = "/bound"
	CallRenew       = "/renew"
	CallCollision   = "/collision"
	CallRelease     = "/release"

	// Calls of people on one port or one load balancer.
	CallBlock    = "/block"
	CallUnblock  = "/unblock"
	CallCordon   = "/cordon"
	CallUncordon = "/uncordon"
)

// HeaderRequestID carries the name of one call, from the caller if it gives one
// of 1 to 64 letters, digits, dots, underscores and hyphens, and otherwise from
// the allocator. It is in every answer and in every log line about the call.
const HeaderRequestID = "X-Request-Id"

// Audience is what the projected service-account token of a pod must be made
// for. The allocator refuses tokens with any other audience.
const Audience = "portlease"

// ClaimPath is the path of the claim of one pod.
func ClaimPath(namespace, pod string) string {
	return fmt.Sprintf("/v1/pods/%s/%s/claim", namespace, pod)
}

// Protocol is what a listener and its target group speak.
type Protocol string

// The protocols a pod may ask for. TCP and UDP on one listener port need
// TCP_UDP: a listener is unique by port alone on its load balancer.
const (
	TCP    Protocol = "TCP"
	UDP    Protocol = "UDP"
	TCPUDP Protocol = "TCP_UDP"
)

// Port is one port that a pod asks for.
type Port struct {
	// Name tells the ports of one pod apart; unique in the pod.
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
	// HealthPort is where the agent answers the load balancer's health checks
	// over HTTP on HealthPath. Needed when a port speaks UDP only, because
	// network load balancers check health over TCP and HTTP alone.
	HealthPort int `json:"healthPort,omitempty"`
	// Throttled is how many calls AWS refused as too many since the last report,
	// so that the allocator slows everybody down.
	Throttled int `json:"throttled,omitempty"`
	// PreviousIPDeregistered is AddressChanges of the claim whose PreviousIP the agent has deregistered
	// from the target groups of all its ports.
	PreviousIPDeregistered int `json:"previousIPDeregistered,omitempty"`
}

// HealthPath is where the agent answers health checks of the load balancer.
const HealthPath = "/healthz"

// Claim is a pod's right to its listener ports, as PUT, renew and conflict
// answer it.
type Claim struct {
	// UID of the claim lease. Every later call names it, so that a late or
	// repeated call of an earlier claim changes nothing.
	UID string `json:"uid"`
	// Ledger is the id of this installation; it goes into every tag.
	Ledger    string `json:"ledger"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	PodIP     string `json:"podIP"`
	// PreviousIP is an address that the pod had before and that may still be a target.
	// The agent binds nothing before it has deregistered it and said so: PUT with
	// PreviousIPDeregistered. Until then nobody else can have that address.
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
	// BindAfterSeconds is the AWS budget's word. Zero: the calls that binding takes
	// are paid for, bind now. More: wait that long and PUT again before any call
	// to AWS; each try at binding is paid for anew.
	BindAfterSeconds float64 `json:"bindAfterSeconds,omitempty"`
}

// LoadBalancer is the one that all ports of a claim are on.
type LoadBalancer struct {
	ARN string `json:"arn"`
	// Host is what players dial.
	Host string `json:"host"`
	// VPC is where target groups of this load balancer belong.
	VPC string `json:"vpc"`
	// Addresses are the static IP addresses that Host stands for: Elastic IPs. Of a
	// load balancer without them AWS tells none.
	Addresses []string `json:"addresses,omitempty"`
}

// ClaimedPort is one granted port. The settings are fixed for the life of the
// claim, so that repeating a create call always repeats the same call.
type ClaimedPort struct {
	Port
	ListenerPort int   `json:"listenerPort"`
	Fence        Fence `json:"fence"`
	// TargetGroupName is the name the target group must be created with.
	TargetGroupName string      `json:"targetGroupName"`
	HealthCheck     HealthCheck `json:"healthCheck"`
	// Attributes of the target group that differ from AWS's defaults; setting them
	// costs a mutating call.
	Attributes map[string]string `json:"attributes,omitempty"`
	// TargetGroupARN and ListenerARN are what the ledger has recorded; empty
	// until the agent reported them.
	TargetGroupARN string `json:"targetGroupARN,omitempty"`
	ListenerARN    string `json:"listenerARN,omitempty"`
}

// Fence names one holding of one port. Names, tags and deletions are checked
// against it, which makes a late call of a former holder harmless.
type Fence struct {
	// Lease is the name of the port lease.
	Lease string `json:"lease"`
	// Epoch is minted when the port lease is first made and tells apart two
	// leases of one name, should the first have been lost.
	Epoch string `json:"epoch"`
	// Generation is how many holders the port has had.
	Generation int `json:"generation"`
}

// HealthCheck is how the load balancer looks whether the target is healthy.
type HealthCheck struct {
	// Protocol is TCP or HTTP.
	Protocol string `json:"protocol"`
	// Port is the port to check; 0 means the target port itself.
	Port int `json:"port,omitempty"`
	// Path is asked for over HTTP; empty for TCP.
	Path               string `json:"path,omitempty"`
	IntervalSeconds    int    `json:"intervalSeconds"`
	TimeoutSeconds     int    `json:"timeoutSeconds"`
	HealthyThreshold   int    `json:"healthyThreshold"`
	UnhealthyThreshold int    `json:"unhealthyThreshold"`
}

// TargetGroupRequest records the target group of a port: the license to create
// its listener.
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

// RenewRequest prolongs a claim. Ports carry what the agent knows of its
// bindings, so that a ledger that lost its leases can take the claim up again.
type RenewRequest struct {
	ClaimUID string        `json:"claimUID"`
	PodIP    string        `json:"podIP"`
	Pool     string        `json:"pool"`
	Ports    []ClaimedPort `json:"ports"`
	// Throttled is as in ClaimRequest.
	Throttled int `json:"throttled,omitempty"`
	// Describes is for how many Describe calls the agent asks, 0-MaxDescribes: it waits for
	// its targets to become healthy.
	Describes int `json:"describes,omitempty"`
}

// MaxDescribes is how many Describe calls can be asked for with one renewal.
const MaxDescribes = 4

// RenewAnswer is the claim as the ledger has it.
type RenewAnswer struct {
	Claim Claim `json:"claim"`
	// Rebind names the port leases whose binding the janitor saw damaged; the
	// agent looks and repairs.
	Rebind []string `json:"rebind,omitempty"`
	// Describes is how many of the Describe calls asked for are paid: make them now.
	Describes int `json:"describes,omitempty"`
	// DescribeAfterSeconds is when to ask again if none is.
	DescribeAfterSeconds float64 `json:"describeAfterSeconds,omitempty"`
}

// CollisionRequest says that somebody else's listener is on the port. The
// allocator looks for itself before it believes it.
type CollisionRequest struct {
	ClaimUID string `json:"claimUID"`
	Fence    Fence  `json:"fence"`
}

// ReleaseRequest begins to release all ports of a claim.
type ReleaseRequest struct {
	ClaimUID string `json:"claimUID"`
	// Deregister is true when the agent wants to deregister its targets before it
	// unbinds, which are calls to pay for as well.
	Deregister bool `json:"deregister,omitempty"`
}

// ReleaseAnswer says who unbinds.
type ReleaseAnswer struct {
	// Unbind is true when the agent shall delete its listeners and target
	// groups now; otherwise the janitor does.
	Unbind bool `json:"unbind"`
	// Ports are those that were bound or half bound.
	Ports []ClaimedPort `json:"ports"`
}

// Query parameters of DELETE, which has no body: the claim lease's UID, and one
// "gone" for every port lease whose listener and target group are gone.
const (
	QueryClaimUID = "claimUID"
	QueryGone     = "gone"
)
