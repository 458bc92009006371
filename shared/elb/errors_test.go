package elb_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

func TestAWSErrorsMapToErrorsOfThePackage(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	lb := a.loadBalancer("games")
	for _, test := range []struct {
		status int
		code   string
		want   error // nil: outcome unknown
	}{
		{400, "Throttling", elb.ErrThrottled},
		{400, "ThrottlingException", elb.ErrThrottled},
		{503, "RequestLimitExceeded", elb.ErrThrottled},
		{429, "PriorRequestNotComplete", elb.ErrThrottled},
		{429, "SomethingNew", elb.ErrThrottled},
		{400, "TooManyRequestsException", elb.ErrThrottled},
		{400, "TooManyTargets", elb.ErrQuota},
		{400, "TooManyTargetGroups", elb.ErrQuota},
		{403, "AccessDenied", elb.ErrDenied},
		{400, "AccessDeniedException", elb.ErrDenied},
		{403, "UnauthorizedOperation", elb.ErrDenied},
		{403, "ExpiredToken", elb.ErrCredentials},
		{400, "DuplicateListener", elb.ErrListenerTaken},
		{400, "IncompatibleProtocols", elb.ErrRefused},
		{400, "ValidationError", elb.ErrRefused},
		{500, "InternalFailure", nil},
		{503, "ServiceUnavailable", nil},
	} {
		t.Run(test.code, func(t *testing.T) {
			a.failOn("CreateListener", test.status, test.code, "because")
			before := a.calls("CreateListener")
			_, err := a.CreateListener(t.Context(), listenerSpec(lb, "arn", 30000))
			if err == nil {
				t.Fatal("no error")
			}
			for _, kind := range []error{
				elb.ErrThrottled, elb.ErrQuota, elb.ErrDenied, elb.ErrCredentials, elb.ErrListenerTaken, elb.ErrRefused, elb.ErrDifferent,
				elb.ErrInUse, elb.ErrListenerGone, elb.ErrTargetGroupGone, elb.ErrLoadBalancerGone,
			} {
				if errors.Is(err, kind) != (kind == test.want) { //nolint:errorlint // identity of the table's own value
					t.Errorf("%v matches %q: %v", err, kind, errors.Is(err, kind))
				}
			}
			if foreign, ok := errors.AsType[smithy.APIError](err); ok {
				t.Errorf("the error wraps the SDK's %T", foreign)
			}
			if !strings.HasPrefix(err.Error(), "creating listener on port 30000: ") || !strings.Contains(err.Error(), "because") {
				t.Errorf("error reads %q", err)
			}
			if n := a.calls("CreateListener") - before; n != 1 {
				t.Errorf("%d calls were sent, want 1", n)
			}
		})
	}
}

func TestDenialNamesTheAction(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	a.failOn("DescribeTags", http.StatusForbidden, "AccessDenied", "no")
	_, err := a.Tags(t.Context(), a.group(1))
	if err == nil || !strings.Contains(err.Error(), "elasticloadbalancing:DescribeTags") {
		t.Errorf("error reads %v", err)
	}
}

func TestContextErrorsMatch(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	a.emulator.SetFault(func(elbemu.Call) elbemu.Fault {
		cancel()
		return elbemu.HoldHanging(new(elbemu.Held))
	})
	_, err := a.TargetGroups(ctx)
	expect(t, "canceled call", err, context.Canceled)
}

func TestLostAnswerHasAnUnknownOutcome(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	a.emulator.SetFault(func(elbemu.Call) elbemu.Fault { return elbemu.AnswerLost() })
	if arn, err := a.CreateTargetGroup(t.Context(), groupSpec(1)); err == nil {
		t.Fatalf("got %s", arn)
	}
	a.emulator.SetFault(nil)
	if groups := must[[]elb.TargetGroup](t)(a.TargetGroups(t.Context())); len(groups) != 1 {
		t.Errorf("the call with the lost answer was carried out, but there are %d target groups", len(groups))
	}
}

// refusing issues no credentials.
type refusing struct{ err error }

func (r refusing) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, r.err
}

// Another service issues credentials. That it refuses or throttles is neither a missing
// right for ELBv2 nor a reason to slow the account down.
func TestMissingCredentialsAreNoAnswerOfELB(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	for name, err := range map[string]error{
		"denied":         &smithy.OperationError{ServiceID: "STS", OperationName: "AssumeRoleWithWebIdentity", Err: &smithy.GenericAPIError{Code: "AccessDenied", Message: "not authorized"}},
		"throttled":      &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded"},
		"no association": errors.New("no EC2 IMDS role found"),
	} {
		t.Run(name, func(t *testing.T) {
			client := elb.New(aws.Config{Region: "us-east-1", Credentials: refusing{err}, HTTPClient: &http.Client{Transport: a.emulator}}, nil)
			before := len(a.emulator.Calls())
			_, got := client.CreateTargetGroup(t.Context(), groupSpec(1))
			expect(t, name, got, elb.ErrCredentials)
			for _, kind := range []error{elb.ErrDenied, elb.ErrThrottled, elb.ErrRefused} {
				if errors.Is(got, kind) {
					t.Errorf("%v matches %q", got, kind)
				}
			}
			if !strings.Contains(got.Error(), err.Error()) || !strings.Contains(got.Error(), "Pod Identity association") {
				t.Errorf("error reads %q", got)
			}
			if n := len(a.emulator.Calls()) - before; n != 0 {
				t.Errorf("%d calls were sent", n)
			}
		})
	}
}
