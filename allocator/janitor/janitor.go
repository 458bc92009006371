// Package janitor reclaims what dead holders left behind.
//
// Plan and ClassifyOrphan decide, and are pure. Sweep carries out a plan on the
// ledger, and UnbindReleasing in AWS. Audit compares AWS with the ledger. A port is taken from its holder only if
// two conditions hold: a fresh read shows that the pod is gone or terminal, and the
// claim was not renewed for its whole duration. A holder that released its claim
// itself needs neither. In AWS the janitor deletes only what carries this ledger's id,
// and by ARN.
//
// One replica sweeps at a time. A second one does no harm, because every change of the
// ledger is a compare-and-swap and every deletion is by ARN.
package janitor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// AWS is what the janitor does in AWS. Deleting and deregistering what is absent is
// success. DeleteTargetGroup fails with elb.ErrInUse while a listener forwards to it.
type AWS interface {
	TargetGroups(ctx context.Context) ([]elb.TargetGroup, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
	Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error)
	DeregisterTargets(ctx context.Context, targetGroupARN string, targets []elb.Target) error
	DeleteListener(ctx context.Context, arn string) error
	DeleteTargetGroup(ctx context.Context, arn string) error
}

// Listings reads the listeners of the pools' load balancers from AWS.
type Listings interface {
	// List returns the listeners of all load balancers, by load balancer ARN. A load
	// balancer that cannot be listed is left out and named in the error.
	List(ctx context.Context) (map[string][]elb.Listener, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	// Offers reports whether some pool hands out a listener port.
	Offers(loadBalancerARN string, port int) bool
	// Sticky returns for how long a freed port is kept for a pod of the same name; false if
	// no pool hands it out.
	Sticky(loadBalancerARN string, port int) (time.Duration, bool)
}

// Config is what a Janitor needs; all of it but DryRun is required.
type Config struct {
	Ledger   string
	Claims   ledger.Table[ledger.Claim]
	Ports    ledger.Ports
	AWS      AWS
	Listings Listings
	Observer *Observer
	Timing   Timing
	// ReserveDeletions reserves up to that many deletions. It returns how many may be made
	// now, and how long it may take until there are more. requester is a port lease or an ARN.
	ReserveDeletions func(ctx context.Context, requester string, deletions int) (granted int, wait time.Duration, err error)
	// ReserveDeregister reserves the calls that deregister the targets of that many ports,
	// and so many Describe calls of releasing ports; false means not now.
	ReserveDeregister func(ctx context.Context, requester string, ports, describes int) (bool, error)
	// TryDescribes reserves Describe calls if nobody else needs them.
	TryDescribes func(ctx context.Context, calls int) (bool, error)
	// Prepaid marks so many Describe calls as reserved by one of these three. Any further
	// call with the same context is reserved by itself.
	Prepaid func(ctx context.Context, describes int) context.Context
	// GetPod is a fresh read of one pod; nil if there is none.
	GetPod func(ctx context.Context, namespace, pod string) (*ledger.Pod, error)
	// Warn creates a warning event on a pod.
	Warn func(ctx context.Context, namespace, pod, uid, reason, message string) error
	// Count counts actions by reason, for metrics.
	Count func(action, reason string)
	Now   func() time.Time
	// NewEpoch returns a word that it has never returned before, in any process.
	NewEpoch func() string
	Log      *slog.Logger
	// DryRun makes the janitor log what it would do next, and change nothing.
	DryRun bool
}

// Janitor sweeps and audits one ledger. Sweep, UnbindReleasing and Audit may run at the
// same time, but none of them twice: each owns a part of the memory below.
type Janitor struct {
	Config

	// audited is the last complete audit.
	audited atomic.Pointer[audited]

	// The fields of Audit.

	// foreign counts the audits in which the tags of an ARN said that it is not this
	// ledger's.
	foreign map[string]int
	// suspects has the ARNs that the last audit saw as suspects or strays.
	suspects map[string]suspicion
	// damaged maps port leases to the version at which the last audit saw a damaged
	// binding for the first time.
	damaged map[string]string
	// lastTargets is the port lease whose targets were checked last.
	lastTargets string
	auditSkips  skipped

	// The fields of Sweep.

	// warned maps claim leases to the version for which an event was created.
	warned map[string]string
	// podChecked maps claim leases to the last time their pod was read.
	podChecked map[string]time.Time
	sweepSkips skipped

	// The fields of UnbindReleasing.

	// unbindings maps the leases of releasing ports to how far they have come.
	unbindings map[string]*unbinding
	// deregisterRetries maps port leases to their next attempt.
	deregisterRetries map[string]retry
	// limitedUntil is until when the budget is not asked again in this pass.
	limitedUntil time.Time
	unbindSkips  skipped
}

// New makes a Janitor.
func New(c Config) *Janitor {
	if c.DryRun {
		c = readOnly(c)
	}
	return &Janitor{
		Config: c, foreign: make(map[string]int), suspects: make(map[string]suspicion),
		warned: make(map[string]string), podChecked: make(map[string]time.Time),
		unbindings: make(map[string]*unbinding), deregisterRetries: make(map[string]retry),
	}
}

// recordEvent creates an event about something that was done for a pod, which may be
// gone. The log has the same information, so a failure is only logged.
func (j *Janitor) recordEvent(ctx context.Context, namespace, pod, uid, reason, message string) {
	if err := j.Warn(ctx, namespace, pod, uid, reason, message); err != nil {
		j.Log.WarnContext(ctx, "failed to create event", "reason", reason, "err", err)
	}
}
