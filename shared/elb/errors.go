package elb

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What a caller may branch on with errors.Is. After any of these the call was
// not carried out; after any other error that is unknown.
var (
	// ErrListenerTaken is a listener of other settings on that port already.
	ErrListenerTaken = errors.New("listener port is taken")
	// ErrTargetGroupGone is a target group that does not exist.
	ErrTargetGroupGone = errors.New("target group is gone")
	// ErrListenerGone is a listener that does not exist, or not yet: a listener
	// just made may be unknown to other calls for some seconds.
	ErrListenerGone = errors.New("listener is gone")
	// ErrLoadBalancerGone is a load balancer that does not exist.
	ErrLoadBalancerGone = errors.New("load balancer is gone")
	// ErrInUse is a target group that a listener still forwards to. AWS may say
	// so for some seconds after that listener was deleted.
	ErrInUse = errors.New("target group is in use")
	// ErrDifferent is a target group of that name with other settings.
	ErrDifferent = errors.New("target group of that name has other settings")
	// ErrQuota is a limit of the account or load balancer that is used up.
	ErrQuota = errors.New("quota is used up")
	// ErrThrottled is a rate limit: ask again, later and less often.
	ErrThrottled = errors.New("call was throttled")
	// ErrDenied is a permission or credential that is missing.
	ErrDenied = errors.New("call was denied")
	// ErrRefused is a request that AWS will never accept as it is, such as a
	// target outside the network.
	ErrRefused = errors.New("call was refused")
)

// codes are the wire codes of the API
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html
// and each action's page). Throttling comes under several names: the page says
// ThrottlingException, what is sent is Throttling
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
}

// explain turns an error of the SDK into one of ours. The SDK's own error is cut
// off where AWS answered, so that nobody comes to depend on it; errors on the
// way there are kept, so that those of the context can be matched.
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
		return fmt.Errorf("%s: %w: elasticloadbalancing:%s must be allowed by the policies of the role in use: %s: %s",
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

// isGone is the answer to a call that names something that does not exist.
func isGone(err error) bool {
	return errors.Is(err, ErrTargetGroupGone) || errors.Is(err, ErrListenerGone) || errors.Is(err, ErrLoadBalancerGone)
}
