// Package pod describes the agent's own pod: who it is, whether players reach it,
// how it terminates, and the kinds of events about it.
//
// It holds types only, so that packages that write on the pod and packages that
// decide what to write need not know each other.
package pod

import "time"

// Identity names the pod that the agent runs in.
type Identity struct{ Namespace, Name, UID, IP string }

// Condition is the pod's condition portlease.dev/Reachable.
type Condition struct {
	Reachable bool
	// Reason is one CamelCase word; Message is for people.
	Reason, Message string
}

// Termination is how a pod ends.
type Termination struct {
	// Begun is whether the pod terminates: it is being deleted, its node shuts down or
	// evicts it, or it has completed. Kubernetes restarts a stopped container of any other.
	Begun bool
	// Grace is the pod's whole grace period.
	Grace time.Duration
}

// EventType is the type of a Kubernetes event.
type EventType string

// The types of events.
const (
	Normal  EventType = "Normal"
	Warning EventType = "Warning"
)
