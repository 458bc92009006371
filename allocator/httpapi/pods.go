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
// Whether the pod still exists is asked where something is granted, not at every
// call: a look is a read of its own, and renewals of 3,000 pods would be a hundred
// of them a second.
//   - PUT, and a renewal that adopts, look in package claim, which needs more of
//     the pod than that it exists.
//   - targetgroup (the license to create a listener) and conflict (another port)
//     look here.
//   - A renewal of a pod that is gone prolongs its claim only while its token is
//     believed: podReviewFor here, and some ten seconds in the API server's own
//     memory of tokens, which end with their pod. That delays its reclaim by
//     as much if its agent lives on, and grants nothing.
//   - bound, release and DELETE of a pod that is gone tell the ledger what is in
//     AWS, and give back. That is welcome from whoever held the port.
func (c Config) pods(e *echo.Echo, prove *prover) {
	g := e.Group("/v1/pods/:namespace/:pod/claim")
	g.PUT("", serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.ClaimRequest) (int, any, error) {
		got, created, err := c.Claims.Claim(ctx, h, req)
		if created {
			return http.StatusCreated, completeClaim(got), err
		}
		return http.StatusOK, completeClaim(got), err
	}))
	g.POST(api.CallTargetGroup, serve(prove.living, func(ctx context.Context, h claim.Holder, req api.TargetGroupRequest) (int, any, error) {
		return http.StatusNoContent, nil, c.Claims.TargetGroup(ctx, h, req)
	}))
	g.POST(api.CallBound, serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.BoundRequest) (int, any, error) {
		return http.StatusNoContent, nil, c.Claims.Bound(ctx, h, req)
	}))
	g.POST(api.CallRenew, serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.RenewRequest) (int, any, error) {
		got, err := c.Claims.Renew(ctx, h, req)
		got.Claim = completeClaim(got.Claim)
		return http.StatusOK, got, err
	}))
	g.POST(api.CallCollision, serve(prove.living, func(ctx context.Context, h claim.Holder, req api.CollisionRequest) (int, any, error) {
		got, err := c.Claims.ReportCollision(ctx, h, req)
		return http.StatusOK, completeClaim(got), err
	}))
	g.POST(api.CallRelease, serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.ReleaseRequest) (int, any, error) {
		got, err := c.Claims.Release(ctx, h, req)
		got.Ports = orEmpty(got.Ports)
		return http.StatusOK, got, err
	}))
	g.DELETE("", func(x echo.Context) error {
		h, err := prove.pod(x)
		if err != nil {
			return err
		}
		q := x.QueryParams()
		if err := c.Claims.Finish(x.Request().Context(), h, q.Get(api.QueryClaimUID), q[api.QueryGone]); err != nil {
			return err
		}
		return x.NoContent(http.StatusNoContent)
	})
}

// serve makes a handler of a call: it proves the caller, reads the body whole
// and strictly, and writes the answer.
func serve[Request any](prove func(echo.Context) (claim.Holder, error), call func(context.Context, claim.Holder, Request) (int, any, error)) echo.HandlerFunc {
	return func(x echo.Context) error {
		h, err := prove(x)
		if err != nil {
			return err
		}
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
