package reporter

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
)

// transientAttempts is how often in a row a transient error occurs before it is an
// event. A fleet that starts sees many of them for a moment.
const transientAttempts = 3

// reasonOther is the reason of events about errors without a class of their own.
const reasonOther = "Failed"

// reasons are the reasons of events, by class of error.
var reasons = map[string]string{
	failure.Foreign:             "ForeignResource",
	failure.Unreachable:         "AllocatorUnreachable",
	failure.AWSThrottled:        "AWSThrottled",
	failure.AWSDenied:           "AWSAccessDenied",
	failure.AWSQuota:            "AWSQuotaReached",
	failure.AWSRefused:          "AWSRefused",
	failure.AWSNameTaken:        "AWSNameTaken",
	failure.AWSListenerTaken:    "ListenerPortTaken",
	failure.AWSNotFound:         "AWSNotFound",
	failure.AWSInUse:            "AWSInUse",
	string(api.Exhausted):       "PoolExhausted",
	string(api.Unavailable):     "AllocatorUnavailable",
	string(api.RateLimited):     "AllocatorRateLimited",
	string(api.Pending):         "ClaimPending",
	string(api.Releasing):       "ClaimReleasing",
	string(api.Invalid):         "ClaimInvalid",
	string(api.Forbidden):       "ClaimForbidden",
	string(api.Unauthenticated): "ClaimUnauthenticated",
}

// Failures reports the failures of one phase. Each class in a row becomes one event
// however often the phase tries again.
type Failures struct {
	reporter *Reporter
	class    string
	times    int
}

// NewFailures starts the failures of a phase.
func (r *Reporter) NewFailures() *Failures { return &Failures{reporter: r} }

// Reset is called when the phase has succeeded and goes on.
func (f *Failures) Reset() { f.class, f.times = "", 0 }

// Report logs a failure that will be tried again. It records an event at once if
// only an admin can resolve it or the pool is exhausted, and otherwise when the
// failure persists.
func (f *Failures) Report(ctx context.Context, message string, err error) {
	f.reporter.Failures.Failed(ctx, message, err)
	if class := failure.Class(err); class != f.class {
		f.class, f.times = class, 0
	}
	f.times++
	eventAt := transientAttempts
	if failure.NeedsAdmin(err) || errors.Is(err, api.ErrExhausted) {
		eventAt = 1
	}
	if f.times != eventAt {
		return
	}
	reason, known := reasons[f.class]
	if !known {
		reason = reasonOther
	}
	f.reporter.Event(ctx, pod.Warning, reason, fmt.Sprintf("%s: %v", message, err))
}
