package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/shared/api"
)

// pods mounts the calls that a pod makes for itself.
//
// Only calls that grant something check that the pod still exists. The check is a
// read of its own: for the renewals of 3,000 pods it would be a hundred a second.
//   - PUT, and a renewal that adopts: package claim checks, because it needs more of
//     the pod.
//   - targetgroup (the license to create a listener) and collision (another port):
//     checked here.
//   - renew of a pod that is gone extends its claim only while its token passes:
//     auth caches the review for half a minute, the API server for some ten seconds.
//     That delays the reclaim by as much, and grants nothing.
//   - bound, release and DELETE of a pod that is gone report what is in AWS, or give
//     ports back. Both are welcome from any former holder.
func (c Config) pods(e *echo.Echo, access *access, admission *admission) {
	g := e.Group("/v1/pods/:namespace/:pod/claim")
	claims, holders := admission.body(admission.claims), admission.body(admission.holders)
	g.PUT("", access.asPod(withBody(func(ctx context.Context, h claim.Holder, req api.ClaimRequest) (int, any, error) {
		got, created, err := c.Claims.Claim(ctx, h, req)
		if created {
			return http.StatusCreated, completeClaim(got), err
		}
		return http.StatusOK, completeClaim(got), err
	})), claims...)
	g.POST(api.CallTargetGroup, access.asPod(access.ifAlive(withBody(func(ctx context.Context, h claim.Holder, req api.TargetGroupRequest) (int, any, error) {
		return http.StatusNoContent, nil, c.Claims.TargetGroup(ctx, h, req)
	}))), holders...)
	g.POST(api.CallBound, access.asPod(withBody(func(ctx context.Context, h claim.Holder, req api.BoundRequest) (int, any, error) {
		return http.StatusNoContent, nil, c.Claims.Bound(ctx, h, req)
	})), holders...)
	g.POST(api.CallRenew, access.asPod(withBody(func(ctx context.Context, h claim.Holder, req api.RenewRequest) (int, any, error) {
		got, err := c.Claims.Renew(ctx, h, req)
		got.Claim = completeClaim(got.Claim)
		return http.StatusOK, got, err
	})), holders...)
	g.POST(api.CallCollision, access.asPod(access.ifAlive(withBody(func(ctx context.Context, h claim.Holder, req api.CollisionRequest) (int, any, error) {
		got, err := c.Claims.ReportCollision(ctx, h, req)
		return http.StatusOK, completeClaim(got), err
	}))), admission.body(admission.collisions)...)
	g.POST(api.CallRelease, access.asPod(withBody(func(ctx context.Context, h claim.Holder, req api.ReleaseRequest) (int, any, error) {
		got, err := c.Claims.Release(ctx, h, req)
		got.Ports = orEmpty(got.Ports)
		return http.StatusOK, got, err
	})), holders...)
	g.DELETE("", access.asPod(func(x echo.Context, h claim.Holder) error {
		q := x.QueryParams()
		if err := c.Claims.Finish(x.Request().Context(), h, q.Get(api.QueryClaimUID), q[api.QueryGone]); err != nil {
			return err
		}
		return x.NoContent(http.StatusNoContent)
	}), admission.bare(admission.holders)...)
}

// withBody makes a podCall of a call: it decodes the body strictly, and writes the
// answer.
func withBody[Request any](call func(context.Context, claim.Holder, Request) (int, any, error)) podCall {
	return func(x echo.Context, h claim.Holder) error {
		req, err := decode[Request](x)
		if err != nil {
			return err
		}
		status, answer, err := call(x.Request().Context(), h, req)
		if err != nil {
			return err
		}
		if answer == nil {
			return x.NoContent(status)
		}
		return x.JSON(status, answer)
	}
}
