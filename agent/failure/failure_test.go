package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestErrorsAreClassified(t *testing.T) {
	for _, c := range []struct {
		err        error
		class      string
		needsAdmin bool
	}{
		{errors.New("something"), "other", false},
		{fmt.Errorf("claiming: %w", failure.ErrUnreachable), failure.Unreachable, false},
		{fmt.Errorf("binding: %w", failure.ErrForeign), failure.Foreign, true},
		{elb.ErrThrottled, failure.AWSThrottled, false},
		{elb.ErrDenied, failure.AWSDenied, true},
		{elb.ErrCredentials, failure.AWSCredentials, false},
		{elb.ErrQuota, failure.AWSQuota, false},
		{elb.ErrRefused, failure.AWSRefused, true},
		{elb.ErrDifferent, failure.AWSNameTaken, true},
		{elb.ErrListenerTaken, failure.AWSListenerTaken, false},
		{elb.ErrListenerGone, failure.AWSNotFound, false},
		{elb.ErrInUse, failure.AWSInUse, false},
		{api.Errorf(api.Exhausted, "no free port"), "exhausted", false},
		{api.Errorf(api.Invalid, "no such pool"), "invalid", true},
		{api.Errorf(api.Internal, "defect"), "internal", false},
		{api.Errorf("from_the_future", "?"), "unknown_code", false},
		{errors.Join(elb.ErrThrottled, elb.ErrDenied), failure.AWSThrottled, true},
	} {
		if class, needsAdmin := failure.Class(c.err), failure.NeedsAdmin(c.err); class != c.class || needsAdmin != c.needsAdmin {
			t.Errorf("%v is %s, needs an admin: %v; want %s, %v", c.err, class, needsAdmin, c.class, c.needsAdmin)
		}
	}
}

func TestOnlyFailuresOfThePodAreReported(t *testing.T) {
	for err, want := range map[error]api.FailureKind{
		elb.ErrDenied: api.FailedDenied, elb.ErrCredentials: api.FailedCredentials,
		elb.ErrRefused: api.FailedRefused, elb.ErrQuota: api.FailedRefused, elb.ErrDifferent: api.FailedRefused, failure.ErrForeign: api.FailedRefused,
		elb.ErrThrottled: "", elb.ErrTargetGroupGone: "", elb.ErrLoadBalancerGone: "", elb.ErrInUse: "", elb.ErrListenerTaken: "",
		failure.ErrUnreachable: "", api.ErrExhausted: "", errors.ErrUnsupported: "",
	} {
		if got := failure.Kind(fmt.Errorf("binding port 30000: %w", err)); got != want {
			t.Errorf("%v is reported as %q, want %q", err, got, want)
		}
	}
}

func TestEachThrottledCallCounts(t *testing.T) {
	one := fmt.Errorf("creating: %w", elb.ErrThrottled)
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {elb.ErrDenied, 0}, {one, 1}, {errors.Join(one, elb.ErrDenied, one), 2}, {fmt.Errorf("binding: %w", errors.Join(one, one)), 2},
	} {
		if got := failure.ThrottledCalls(c.err); got != c.want {
			t.Errorf("%v has %d throttled calls, want %d", c.err, got, c.want)
		}
	}
}
