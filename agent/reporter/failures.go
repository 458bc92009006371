package reporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

// transientAttempts is how often in a row a transient error occurs before it is an
// event. A fleet that starts sees many of them for a moment.
const transientAttempts = 3

// repeatAfter is the longest time after which a failure that lasts is told again. In
// between, each event comes after twice as many failures as the one before. The API server
// keeps events for an hour.
const repeatAfter = 30 * time.Minute

// reasonOther is the reason of events about errors without a class of their own.
const reasonOther = "Failed"

// reasons are the reasons of events, by class of error.
var reasons = map[string]string{
	failure.Foreign:             "ForeignResource",
	failure.Unreachable:         "AllocatorUnreachable",
	failure.AWSThrottled:        "AWSThrottled",
	failure.AWSCredentials:      "NoCredentials",
	failure.AWSDenied:           "AccessDenied",
	failure.AWSQuota:            "AWSQuotaReached",
	failure.AWSRefused:          "AWSRefused",
	failure.AWSNameTaken:        "AWSNameTaken",
	failure.AWSListenerTaken:    "ListenerPortTaken",
	failure.AWSNotFound:         "AWSNotFound",
	failure.AWSLoadBalancer:     ReasonLoadBalancerGone,
	failure.AWSInUse:            "AWSInUse",
	string(api.Exhausted):       "PoolExhausted",
	string(api.Unavailable):     "AllocatorUnavailable",
	string(api.Quota):           "QuotaExceeded",
	string(api.RateLimited):     "AllocatorRateLimited",
	string(api.Pending):         "ClaimPending",
	string(api.Releasing):       "ClaimReleasing",
	string(api.Invalid):         "ClaimInvalid",
	string(api.Forbidden):       "ClaimForbidden",
	string(api.Unauthenticated): "ClaimUnauthenticated",
}

// Failures reports the failures of one phase. A class that lasts becomes one event, which
// is counted up ever more rarely however often the phase tries again.
type Failures struct {
	reporter *Reporter
	class    string
	times    int
	// next is after how many failures to record the event, and again when to do it at the
	// latest.
	next  int
	again time.Time
}

// NewFailures starts the failures of a phase.
func (r *Reporter) NewFailures() *Failures { return &Failures{reporter: r} }

// Reset is called when the phase has succeeded and goes on.
func (f *Failures) Reset() { f.class, f.times = "", 0 }

// Report logs a failure that will be tried again. It is told at once if only an admin can
// resolve it or the pool is exhausted, and otherwise when it persists: by an event, and by
// the reason and text of a condition, which are empty before.
func (f *Failures) Report(ctx context.Context, message string, err error) (reason, text string) {
	f.reporter.Failures.Failed(ctx, message, err)
	told := transientAttempts
	if failure.NeedsAdmin(err) || errors.Is(err, api.ErrExhausted) || errors.Is(err, api.ErrQuota) {
		told = 1
	}
	if class := failure.Class(err); class != f.class {
		f.class, f.times, f.next = class, 0, told
	}
	f.times++
	if f.times < told {
		return "", ""
	}
	reason, known := reasons[f.class]
	if !known {
		reason = reasonOther
	}
	if now := f.reporter.Clock.Now(); f.times >= f.next || !now.Before(f.again) {
		f.next, f.again = 2*f.times, now.Add(repeatAfter)
		f.reporter.Event(ctx, pod.Warning, reason, fmt.Sprintf("%s: %v", message, err))
	}
	return reason, lasting(err)
}

// lasting is what an error says without what changes with each attempt, such as the id of
// a request.
func lasting(err error) string {
	if problem, answered := errors.AsType[*api.Problem](err); answered {
		return problem.Detail
	}
	if errors.Is(err, failure.ErrUnreachable) {
		return failure.ErrUnreachable.Error()
	}
	return err.Error()
}
