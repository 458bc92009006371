package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/shared/api"
)

// trouble is what holds the agent up in one phase, so that people are told once and
// not with every try.
type trouble struct {
	class string
	times int
}

func (t *trouble) passed() { *t = trouble{} }

// patience is how often in a row something that passes by itself fails before
// people are told. A fleet that starts sees much of it for a moment.
const patience = 3

// reasons are what the events of each class of error are called.
var reasons = map[string]string{
	"aws_throttled": "AWSThrottled", "aws_denied": "AWSAccessDenied", "aws_quota": "AWSQuotaReached", "aws_refused": "AWSRefused",
	"aws_different": "AWSNameTaken", "aws_listener_taken": "ListenerPortTaken", "aws_gone": "AWSNotFound", "aws_in_use": "AWSInUse",
	"foreign": "NotOurs", awayClass: "AllocatorAway",
	string(api.Exhausted): "PoolExhausted", string(api.Unavailable): "AllocatorUnavailable", string(api.Pending): "ClaimPending",
	string(api.Releasing): "StillReleasing", string(api.RateLimited): "AllocatorBusy",
	string(api.Invalid): "ClaimInvalid", string(api.Forbidden): "ClaimForbidden", string(api.Unauthenticated): "ClaimUnauthenticated",
}

// meet logs a failure that will be tried again, and tells people when it is of a
// kind that they have not been told of: at once if only a person can mend it or the
// pool is full, and else when it does not pass.
func (a *Agent) meet(ctx context.Context, t *trouble, what string, err error) {
	a.complain(ctx, what, err)
	if c := class(err); c != t.class {
		*t = trouble{class: c}
	}
	t.times++
	soon := needsPerson(err) || errors.Is(err, api.ErrExhausted)
	if soon && t.times == 1 || !soon && t.times == patience {
		reason, known := reasons[t.class]
		if !known {
			reason = "Trouble"
		}
		a.tell(ctx, Warning, reason, fmt.Sprintf("%s: %v", what, err))
	}
}

// awayClass is the class of calls that got no answer from the allocator.
const awayClass = "allocator_away"

// errAway is an allocator that gave no answer of its own: the outcome is unknown.
var errAway = errors.New("the allocator cannot be reached; until it can, nothing new is bound and what is bound stays")

// away marks an error that is no answer.
func away(ctx context.Context, err error) error {
	if _, answered := errors.AsType[*api.Problem](err); err == nil || answered || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errAway, err)
}

// telling marks the errors of an allocator that gives no answer.
type telling struct{ Allocator }

func (t telling) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	c, err := t.Allocator.Claim(ctx, namespace, pod, r)
	return c, away(ctx, err)
}

func (t telling) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	return away(ctx, t.Allocator.TargetGroup(ctx, namespace, pod, r))
}

func (t telling) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	return away(ctx, t.Allocator.Bound(ctx, namespace, pod, r))
}

func (t telling) ReportCollision(ctx context.Context, namespace, pod string, r api.CollisionRequest) (api.Claim, error) {
	c, err := t.Allocator.ReportCollision(ctx, namespace, pod, r)
	return c, away(ctx, err)
}

func (t telling) Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error) {
	answer, err := t.Allocator.Renew(ctx, namespace, pod, r)
	return answer, away(ctx, err)
}

func (t telling) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	answer, err := t.Allocator.Release(ctx, namespace, pod, r)
	return answer, away(ctx, err)
}

func (t telling) Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error {
	return away(ctx, t.Allocator.Finish(ctx, namespace, pod, claimUID, gone))
}
