// Package janitor takes back what no live holder has.
//
// Plan and JudgeOrphan decide and are pure; Sweep and Audit read, call them and
// carry out. A port is taken back from a holder only with two keys: its pod is
// gone or terminal by a consistent read, and its claim was not renewed for its
// whole duration, unless the holder itself began to release. In AWS only what
// carries this ledger's id is deleted, by ARN.
//
// One replica sweeps at a time; a second one for a moment does no harm, because
// every change of the ledger is a compare-and-swap and every deletion is by ARN.
package janitor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/elb"
)

// AWS is what the janitor does in AWS. Delete… of what is absent is success;
// DeleteTargetGroup answers elb.ErrInUse while a listener forwards to it.
type AWS interface {
	TargetGroups(ctx context.Context) ([]elb.TargetGroup, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
	Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error)
	DeleteListener(ctx context.Context, arn string) error
	DeleteTargetGroup(ctx context.Context, arn string) error
}

// Listings are the listeners of the pools' load balancers, read when asked for.
type Listings interface {
	List(ctx context.Context) (map[string][]elb.Listener, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	// Offers tells whether some pool hands out a listener port.
	Offers(loadBalancerARN string, port int) bool
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
	// ReserveUnbind pays for one try at deleting one binding; false means not now. who
	// is a port lease or an ARN.
	ReserveUnbind func(ctx context.Context, who string) (bool, error)
	// Prepaid marks looks that ReserveUnbind has paid for.
	Prepaid func(context.Context) context.Context
	// GetPod is a consistent read of one pod; nil if there is none.
	GetPod func(ctx context.Context, namespace, pod string) (*ledger.Pod, error)
	// Warn leaves an event on a pod.
	Warn func(ctx context.Context, namespace, pod, uid, reason, message string) error
	// Count counts what was done and why, for metrics.
	Count func(action, reason string)
	Now   func() time.Time
	Log   *slog.Logger
	// DryRun has the janitor say what it would do next, and do nothing.
	DryRun bool
}

// Janitor sweeps one ledger. Sweep and Audit may run at the same time, neither of
// them twice: each has its own of what is remembered.
type Janitor struct {
	Config

	// Audit's.

	// foreign has ARNs whose tags say that they are not this ledger's, and how
	// often they said so.
	foreign map[string]int
	// suspects counts in how many audits in a row an ARN was unaccounted for.
	suspects map[string]int
	// damaged is port lease → version for which the last audit saw a damaged binding
	// for the first time.
	damaged map[string]string
	// targetsOf is the port lease whose targets were looked at last.
	targetsOf string
	audited   notes

	// Sweep's.

	// warned is claim lease → version for which an event was written.
	warned map[string]string
	// looked is claim lease → when its pod was looked at last.
	looked map[string]time.Time
	// later is port lease → when to try again to unbind it.
	later map[string]retry
	// spent is whether the budget refused an unbinding in this sweep.
	spent bool
	swept notes
}

// New makes a Janitor.
func New(c Config) *Janitor {
	if c.DryRun {
		c = dry(c)
	}
	return &Janitor{
		Config: c, foreign: make(map[string]int), suspects: make(map[string]int),
		warned: make(map[string]string), looked: make(map[string]time.Time), later: make(map[string]retry),
	}
}

// Sweep carries out what the ledger asks for. Whatever could not be done is
// joined into the error and asked for again by the next sweep.
func (j *Janitor) Sweep(ctx context.Context) error {
	j.spent = false
	claims, ports := j.Claims.CachedAll(), j.Ports.CachedAll()
	j.Observer.Observe(claims, ports)
	var errs []error
	for _, a := range Plan(claims, ports, j.Observer.Age, j.Timing) {
		if ctx.Err() != nil {
			break
		}
		err := j.carryOut(ctx, a)
		if errors.Is(err, ledger.ErrConflict) {
			err = j.readAgain(ctx, a)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	j.tidy(claims, ports)
	return j.withhold(ctx, &j.swept, errs)
}

// tell leaves an event about what was done, on the pod it was done for, whether
// that still exists or not. The log has it anyway.
func (j *Janitor) tell(ctx context.Context, namespace, pod, uid, reason, message string) {
	if err := j.Warn(ctx, namespace, pod, uid, reason, message); err != nil {
		j.Log.WarnContext(ctx, "event not written", "reason", reason, "err", err)
	}
}

// withhold says what a dry run did not do, and gives the errors that are none of
// that.
func (j *Janitor) withhold(ctx context.Context, n *notes, errs []error) error {
	at := j.Now()
	// Between two tries at unbinding a port, or two looks at the pod of an expired claim.
	defer n.over(at, dryRetry+j.Timing.ClaimDuration)
	return n.withhold(errors.Join(errs...), at, func(what string) {
		j.Count("withhold", "dry run")
		j.Log.InfoContext(ctx, "withheld", "what", what)
	})
}

// Hungry tells whether the budget held up the last sweep, so that the next should
// come after BudgetRetry. Only who calls Sweep may ask.
func (j *Janitor) Hungry() bool { return j.spent }

// carryOut does one action. ledger.ErrConflict means that somebody was faster;
// the next sweep sees what became of it.
func (j *Janitor) carryOut(ctx context.Context, a Action) error {
	switch a.Kind {
	case CheckExpiry:
		return j.judge(ctx, *a.Claim)
	case BeginRelease:
		return j.letGo(ctx, *a.Port, a.Agent, "its claim ends")
	case CheckOwner:
		return j.verify(ctx, *a.Port)
	case Unbind:
		return j.unbind(ctx, *a.Port)
	case EndCooldown:
		return j.open(ctx, *a.Port)
	case DeleteClaim:
		return j.forget(ctx, *a.Claim)
	}
	return nil
}

// readAgain corrects the view that an action was drawn from, even where the
// watch will never tell what happened since.
func (j *Janitor) readAgain(ctx context.Context, a Action) (err error) {
	if a.Claim != nil {
		_, err = j.Claims.Get(ctx, a.Claim.Name)
	} else {
		_, err = j.Ports.Get(ctx, a.Port.Name)
	}
	if errors.Is(err, ledger.ErrAbsent) {
		return nil
	}
	return err
}

// tidy forgets what is remembered of leases that are gone.
func (j *Janitor) tidy(claims []ledger.Record[ledger.Claim], ports []ledger.Record[ledger.Port]) {
	live := make(map[string]bool, len(claims))
	for _, c := range claims {
		live[c.Name] = true
	}
	for name := range j.warned {
		if !live[name] {
			delete(j.warned, name)
		}
	}
	for name := range j.looked {
		if !live[name] {
			delete(j.looked, name)
		}
	}
	releasing := make(map[string]bool)
	for _, p := range ports {
		releasing[p.Name] = p.Value.State == ledger.Releasing
	}
	for name := range j.later {
		if !releasing[name] {
			delete(j.later, name)
		}
	}
}
