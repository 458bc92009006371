// Package failure classifies the agent's errors: by class for metrics and events,
// by whether only an admin can resolve them, and by how many calls AWS throttled.
package failure

import (
	"errors"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// ErrForeign is an AWS resource with the right name or ARN and other tags.
var ErrForeign = errors.New("it does not belong to this pod")

// ErrUnreachable is an allocator that gave no answer: the outcome is unknown.
var ErrUnreachable = errors.New("the allocator is unreachable; nothing new is bound until it answers, and bound ports stay")

// The classes of errors that the allocator did not answer.
const (
	Foreign          = "foreign"
	Unreachable      = "allocator_unreachable"
	AWSThrottled     = "aws_throttled"
	AWSCredentials   = "aws_credentials"
	AWSDenied        = "aws_denied"
	AWSQuota         = "aws_quota"
	AWSRefused       = "aws_refused"
	AWSNameTaken     = "aws_name_taken"
	AWSListenerTaken = "aws_listener_taken"
	AWSNotFound      = "aws_not_found"
	AWSLoadBalancer  = "aws_load_balancer_gone"
	AWSInUse         = "aws_in_use"
	unknownCode      = "unknown_code"
	other            = "other"
)

var classes = []struct {
	err        error
	name       string
	needsAdmin bool
}{
	{ErrForeign, Foreign, true},
	{ErrUnreachable, Unreachable, false},
	{elb.ErrThrottled, AWSThrottled, false},
	{elb.ErrCredentials, AWSCredentials, false}, // they may come late
	{elb.ErrDenied, AWSDenied, true},
	{elb.ErrQuota, AWSQuota, false},
	{elb.ErrRefused, AWSRefused, true},
	{elb.ErrDifferent, AWSNameTaken, true},
	{elb.ErrListenerTaken, AWSListenerTaken, false},
	{elb.ErrTargetGroupGone, AWSNotFound, false},
	{elb.ErrLoadBalancerGone, AWSLoadBalancer, false},
	{elb.ErrListenerGone, AWSNotFound, false},
	{elb.ErrInUse, AWSInUse, false},
}

// Class is the class of an error; an error that the allocator answered has its
// code. The set of classes is bounded: all codes that this agent does not know
// are one class.
func Class(err error) string {
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		if problem.Code.Status() == api.Internal.Status() && problem.Code != api.Internal {
			return unknownCode
		}
		return string(problem.Code)
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return other
}

// NeedsAdmin reports whether only an admin can resolve the error, so that retrying
// soon is pointless.
func NeedsAdmin(err error) bool {
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		switch problem.Code {
		case api.Invalid, api.Forbidden, api.Unauthenticated, api.Malformed, api.NotFound, api.MethodNotAllowed, api.TooLarge:
			return true
		case api.Lost, api.Quota, api.Exhausted, api.Releasing, api.Pending, api.RateLimited, api.Unavailable, api.Internal:
			return false
		}
		return false
	}
	for _, c := range classes {
		if c.needsAdmin && errors.Is(err, c.err) {
			return true
		}
	}
	return false
}

// Kind is how the allocator is told that binding failed with err; empty if that is not the
// pod's or its role's doing.
func Kind(err error) api.FailureKind {
	switch Class(err) {
	case AWSCredentials:
		return api.FailedCredentials
	case AWSDenied:
		return api.FailedDenied
	case AWSRefused, AWSQuota, AWSNameTaken, Foreign:
		return api.FailedRefused
	}
	return ""
}

// ThrottledCalls counts the calls that AWS throttled in an error that may join the
// errors of several calls.
func ThrottledCalls(err error) (calls int) {
	switch wrapped := err.(type) { //nolint:errorlint // it takes the error apart
	case interface{ Unwrap() []error }:
		for _, one := range wrapped.Unwrap() {
			calls += ThrottledCalls(one)
		}
	case interface{ Unwrap() error }:
		calls = ThrottledCalls(wrapped.Unwrap())
	}
	if err == elb.ErrThrottled { //nolint:errorlint // each occurrence is one call
		calls++
	}
	return calls
}
