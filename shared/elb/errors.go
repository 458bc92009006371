package elb

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Errors that callers may match with errors.Is. After any of these the call was not
// carried out; after any other error the outcome is unknown.
var (
	// ErrListenerTaken means that a listener with other settings is on the port.
	ErrListenerTaken = errors.New("listener port is taken")
	// ErrTargetGroupGone means that the target group does not exist.
	ErrTargetGroupGone = errors.New("target group is gone")
	// ErrListenerGone means that the listener does not exist. AWS may not know a new
	// listener for some seconds.
	ErrListenerGone = errors.New("listener is gone")
	// ErrLoadBalancerGone means that the load balancer does not exist.
	ErrLoadBalancerGone = errors.New("load balancer is gone")
	// ErrInUse means that a listener forwards to the target group. AWS may say so for
	// some seconds after that listener was deleted.
	ErrInUse = errors.New("target group is in use")
	// ErrDifferent means that a target group of that name has other settings.
	ErrDifferent = errors.New("target group of that name has other settings")
	// ErrQuota means that a quota of the account or load balancer is used up.
	ErrQuota = errors.New("quota is used up")
	// ErrThrottled means that AWS throttled the call: retry later and less often.
	ErrThrottled = errors.New("call was throttled")
	// ErrDenied means that a permission is missing.
	ErrDenied = errors.New("call was denied")
	// ErrCredentials means that there are no valid AWS credentials to make a call with.
	ErrCredentials = errors.New("there are no valid AWS credentials; see whether the pod's service account has a Pod Identity association or a role")
	// ErrRefused means that AWS will never accept this request, for example a target
	// outside the VPC.
	ErrRefused = errors.New("call was refused")
)

// codes are the wire codes of the API
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html
// and each action's page). Throttling has several codes: the page documents
// ThrottlingException, and AWS sends Throttling
// (https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/3167).
var codes = map[string]error{
	"DuplicateListener":        ErrListenerTaken,
	"TargetGroupNotFound":      ErrTargetGroupGone,
	"ListenerNotFound":         ErrListenerGone,
	"LoadBalancerNotFound":     ErrLoadBalancerGone,
	"ResourceInUse":            ErrInUse,
	"DuplicateTargetGroupName": ErrDifferent,
	"Throttling":               ErrThrottled,
	"ThrottlingException":      ErrThrottled,
	"RequestLimitExceeded":     ErrThrottled,
	"RequestThrottled":         ErrThrottled,
	"TooManyRequestsException": ErrThrottled,
	"PriorRequestNotComplete":  ErrThrottled,
	"AccessDenied":             ErrDenied,
	"AccessDeniedException":    ErrDenied,
	"UnauthorizedOperation":    ErrDenied,
	"OptInRequired":            ErrDenied,
	// These come from ELBv2, about the credentials of the call.
	"ExpiredToken":                ErrCredentials,
	"ExpiredTokenException":       ErrCredentials,
	"InvalidClientTokenId":        ErrCredentials,
	"UnrecognizedClientException": ErrCredentials,
	"SignatureDoesNotMatch":       ErrCredentials,
	"RequestExpired":              ErrCredentials,
}

// explain turns an error of the SDK into one of this package. If AWS answered, the SDK's
// error is not wrapped, so that no caller depends on its type. Transport errors are
// wrapped, so that callers can match those of the context.
func explain(doing, action string, err error) error {
	answer, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	status := 0
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	kind := kindOf(answer.ErrorCode(), status)
	switch {
	case kind == nil:
		return fmt.Errorf("%s: AWS answered %d %s: %s", doing, status, answer.ErrorCode(), answer.ErrorMessage())
	case errors.Is(kind, ErrDenied):
		return fmt.Errorf("%s: %w: allow elasticloadbalancing:%s in the policies of the role: %s: %s",
			doing, kind, action, answer.ErrorCode(), answer.ErrorMessage())
	}
	return fmt.Errorf("%s: %w: %s: %s", doing, kind, answer.ErrorCode(), answer.ErrorMessage())
}

func kindOf(code string, status int) error {
	if kind, known := codes[code]; known {
		return kind
	}
	switch {
	case strings.HasPrefix(code, "Unauthorized"), status == http.StatusForbidden:
		return ErrDenied
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case strings.HasPrefix(code, "TooMany"):
		return ErrQuota
	case status >= 400 && status < 500:
		return ErrRefused
	}
	return nil
}

// isGone reports whether a call failed because something it names does not exist.
func isGone(err error) bool {
	return errors.Is(err, ErrTargetGroupGone) || errors.Is(err, ErrListenerGone) || errors.Is(err, ErrLoadBalancerGone)
}

// requestIDOf is AWS's id of a request that failed, for a case with AWS Support; empty if no
// answer came.
func requestIDOf(err error) string {
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return answer.RequestID
	}
	return ""
}

// codeOf is the code of the error that a request ended with.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		return answer.ErrorCode()
	}
	return NoAnswer
}
