package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/shared/api"
)

// Allocator is what the agent calls in the allocator: everything may be repeated.
// Errors that match an *api.Problem are decisions; after any other the outcome is
// unknown.
type Allocator interface {
	Claims
	binder.Reports
	Releases
}

// unreachableMarked marks the errors of an allocator that gives no answer with
// failure.ErrUnreachable.
type unreachableMarked struct{ Allocator }

func markUnreachable(ctx context.Context, err error) error {
	if _, answered := errors.AsType[*api.Problem](err); err == nil || answered || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", failure.ErrUnreachable, err)
}

func (u unreachableMarked) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	c, err := u.Allocator.Claim(ctx, namespace, pod, r)
	return c, markUnreachable(ctx, err)
}

func (u unreachableMarked) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	return markUnreachable(ctx, u.Allocator.TargetGroup(ctx, namespace, pod, r))
}

func (u unreachableMarked) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	return markUnreachable(ctx, u.Allocator.Bound(ctx, namespace, pod, r))
}

func (u unreachableMarked) ReportCollision(ctx context.Context, namespace, pod string, r api.CollisionRequest) (api.Claim, error) {
	c, err := u.Allocator.ReportCollision(ctx, namespace, pod, r)
	return c, markUnreachable(ctx, err)
}

func (u unreachableMarked) Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error) {
	answer, err := u.Allocator.Renew(ctx, namespace, pod, r)
	return answer, markUnreachable(ctx, err)
}

func (u unreachableMarked) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	answer, err := u.Allocator.Release(ctx, namespace, pod, r)
	return answer, markUnreachable(ctx, err)
}

func (u unreachableMarked) Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error {
	return markUnreachable(ctx, u.Allocator.Finish(ctx, namespace, pod, claimUID, gone))
}
