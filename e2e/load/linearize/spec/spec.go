// Package spec is what the claims API promises, as a sequential model, and the
// check of a history of concurrent calls against it.
//
// A history is linearizable if every call can be given one moment between its
// start and its end so that, in that order, the model would have answered the
// same. The model is made of three kinds of objects: a claim for each pod, a
// holding for each listener port, and the pool. One call is one operation on its
// pod's claim and one on each port it speaks of, and these need not be one moment,
// because the ledger has a Lease for each. Linearizability is local (Herlihy and
// Wing 1990, theorem 1): a history is linearizable if and only if it is for each
// object alone. So each is checked alone, and stays small enough to be decided.
//
// A call without an answer may have done its work at any time since, or never:
// its end is open.
package spec

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// Verb is which call was made.
type Verb string

// The calls of the claims API that a pod without bindings makes.
const (
	Put       Verb = "PUT"
	Renew     Verb = "renew"
	Collision Verb = "collision"
	Release   Verb = "release"
	Delete    Verb = "DELETE"
)

// Outcome is what became of a call.
type Outcome string

// Outcomes. Any other is a problem's code that no call of a live pod may be
// answered with.
const (
	// Done is a success.
	Done Outcome = "ok"
	// Exhausted, Releasing and Lost are the problems of these codes.
	Exhausted Outcome = "exhausted"
	Releasing Outcome = "releasing"
	Lost      Outcome = "lost"
	// Refused was put off: what it would have done may be done in part, but
	// nothing of it happens after the answer.
	Refused Outcome = "refused"
	// Unknown has no answer, or one that leaves open what happened and when.
	Unknown Outcome = "unknown"
)

// Hold is a port that an answer says the claim has.
type Hold struct {
	LoadBalancer string
	Port         int
	Fence        api.Fence
}

// Op is one call with its answer.
type Op struct {
	// Lane is where the operation is drawn; two that overlap differ in it.
	Lane    int
	Pod     string
	Replica string
	Verb    Verb
	// Claim is the UID of the claim lease that the call names.
	Claim string
	// Want is how many ports the pod asks for.
	Want int
	// Fence is the port that a collision names; Foreign is true if a foreign listener
	// was on that port before the call and stayed there.
	Fence   api.Fence
	Foreign bool

	Outcome Outcome
	// UID and Holds are the claim that was answered.
	UID   string
	Holds []Hold
	// Detail is more of the answer, for people.
	Detail string

	// Start and End are on one monotonic clock. End is when the caller knew the
	// outcome; one that is Unknown may yet come about later.
	Start, End time.Duration
}

// end is when the operation has happened at the latest, if it ever does.
func (o Op) end() time.Duration {
	if o.Outcome == Unknown {
		return math.MaxInt64
	}
	return o.End
}

// ports names the answered holds with their fences; order is the pod's.
func (o Op) ports() string {
	var b strings.Builder
	for _, h := range o.Holds {
		b.WriteString(fenceKey(h.Fence) + " ")
	}
	return b.String()
}

// sound tells whether an answered claim is one that could be granted at all: as
// many different ports as were asked for, all on one load balancer.
func (o Op) sound() bool {
	if len(o.Holds) != o.Want || o.UID == "" {
		return false
	}
	seen := make(map[int]bool)
	for _, h := range o.Holds {
		if h.LoadBalancer != o.Holds[0].LoadBalancer || seen[h.Port] || h.Fence.Generation < 1 || h.Fence.Epoch == "" {
			return false
		}
		seen[h.Port] = true
	}
	return true
}

// shows tells whether the answer has a holding, by its key.
func (o Op) shows(key string) bool { return listed(o.ports(), key) }

func listed(ports, key string) bool { return strings.Contains(" "+ports, " "+key+" ") }

func (o Op) lists(lease string) bool {
	return slices.ContainsFunc(o.Holds, func(h Hold) bool { return h.Fence.Lease == lease })
}

func fenceKey(f api.Fence) string {
	return fmt.Sprintf("%s/%s/%d", f.Lease, f.Epoch, f.Generation)
}

// String is one line of a history.
func (o Op) String() string {
	var b strings.Builder
	ended := "never"
	if o.Outcome != Unknown {
		ended = o.End.Round(time.Microsecond * 100).String()
	}
	fmt.Fprintf(&b, "%8s … %-8s %-7s %-8s at %-11s", o.Start.Round(time.Microsecond*100), ended, o.Pod, o.Verb, o.Replica)
	if o.Claim != "" {
		fmt.Fprintf(&b, " of claim %s", short(o.Claim))
	}
	if o.Verb == Collision {
		fmt.Fprintf(&b, " about %s generation %d", o.Fence.Lease, o.Fence.Generation)
		if o.Foreign {
			b.WriteString(" (true)")
		}
	}
	fmt.Fprintf(&b, " → %s", o.Outcome)
	if o.UID != "" {
		fmt.Fprintf(&b, " claim %s", short(o.UID))
	}
	for _, h := range o.Holds {
		fmt.Fprintf(&b, ", %s generation %d", h.Fence.Lease, h.Fence.Generation)
	}
	if o.Detail != "" {
		fmt.Fprintf(&b, " (%s)", o.Detail)
	}
	return b.String()
}

func short(uid string) string { return uid[:min(len(uid), 8)] }

// History is all calls of one round, and what is known from before it.
type History struct {
	Ops []Op
	// Ports are all listener ports of the pool. None was held when the round
	// began, and every replica knew.
	Ports []Port
	// Doubtful has pods with a call of unknown outcome from before the round,
	// pod → ports it may take without anybody being told.
	Doubtful map[string]int
}

// Port is one listener port of the pool as a round begins.
type Port struct {
	LoadBalancer string
	Lease        string
	// Epoch and Generation are the last holder's; zero if there was none.
	Epoch      string
	Generation int
}
