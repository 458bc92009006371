package api

// RenewRequest renews a claim. Ports are what the agent knows of its bindings, so that the
// allocator can adopt the claim if its Leases were lost.
type RenewRequest struct {
	ClaimUID string        `json:"claimUID"`
	PodIP    string        `json:"podIP"`
	Pool     string        `json:"pool"`
	Ports    []ClaimedPort `json:"ports"`
	// Throttled and Failed are as in ClaimRequest.
	Throttled int         `json:"throttled,omitempty"`
	Failed    FailureKind `json:"failed,omitempty"`
	// Describes is how many Describe calls the agent requests, 0 to MaxDescribes, while it
	// waits for its targets to become healthy.
	Describes int `json:"describes,omitempty"`
	// Milestones are those that the pod has passed since its last renewal.
	Milestones Milestones `json:"milestones,omitzero"`
}

// Milestones says how many seconds after its agent asked for a claim first a pod got there; 0
// if it did not yet, or if that was said before. They are for metrics.
type Milestones struct {
	Granted   float64 `json:"granted,omitempty"`
	Bound     float64 `json:"bound,omitempty"`
	Announced float64 `json:"announced,omitempty"`
	Healthy   float64 `json:"healthy,omitempty"`
}

// MaxDescribes is how many Describe calls one renewal can request.
const MaxDescribes = 4

// RenewAnswer is the answer to a renewal: the claim as the ledger has it.
type RenewAnswer struct {
	Claim Claim `json:"claim"`
	// Rebind are the port leases whose binding the janitor found damaged. The agent checks
	// and repairs them.
	Rebind []string `json:"rebind,omitempty"`
	// Describes is how many of the requested Describe calls are granted: make them now.
	Describes int `json:"describes,omitempty"`
	// DescribeAfterSeconds is when to request them again if none is granted.
	DescribeAfterSeconds float64 `json:"describeAfterSeconds,omitempty"`
}
