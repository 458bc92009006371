// Package httpapi serves the allocator's HTTP API, version 1, for pods and
// people. It is the only package that knows echo.
//
// A handler is a few lines: reading a body, proving the caller, turning an error
// into a problem document, logging and counting exist once, around all of them.
package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/shared/api"
)

// Limits of every request.
const (
	maxBody        = "64K"
	requestTimeout = 20 * time.Second
)

// Claims are the calls of pods. Errors that are an *api.Problem go to the caller
// as they are; any other is logged and answered as internal.
type Claims interface {
	Claim(ctx context.Context, h claim.Holder, req api.ClaimRequest) (c api.Claim, created bool, err error)
	TargetGroup(ctx context.Context, h claim.Holder, req api.TargetGroupRequest) error
	Bound(ctx context.Context, h claim.Holder, req api.BoundRequest) error
	Renew(ctx context.Context, h claim.Holder, req api.RenewRequest) (api.RenewAnswer, error)
	Conflict(ctx context.Context, h claim.Holder, req api.ConflictRequest) (api.Claim, error)
	Release(ctx context.Context, h claim.Holder, req api.ReleaseRequest) (api.ReleaseAnswer, error)
	Finish(ctx context.Context, h claim.Holder, claimUID string, gone []string) error
}

// Views are what people look at.
type Views interface {
	Pools(ctx context.Context) (api.PoolList, error)
	Ports(ctx context.Context) (api.PortList, error)
	// Port and ClaimOf answer api.NotFound for what does not exist.
	Port(ctx context.Context, loadBalancerID string, port int) (api.PortView, error)
	ClaimOf(ctx context.Context, namespace, pod string) (api.Claim, error)
}

// Operations are what people do. who is the user that the API server knows the
// caller by; he has been found to have the right. Each may be repeated, and
// answers what stands afterwards; api.NotFound for what is of no pool.
type Operations interface {
	Block(ctx context.Context, who, loadBalancerID string, port int, reason string) (api.PortView, error)
	Unblock(ctx context.Context, who, loadBalancerID string, port int) (api.PortView, error)
	Cordon(ctx context.Context, who, loadBalancerID, reason string) (api.LoadBalancerView, error)
	Uncordon(ctx context.Context, who, loadBalancerID string) (api.LoadBalancerView, error)
}

// Callers proves who calls.
type Callers interface {
	ReviewPod(ctx context.Context, token string) (kubepod.Caller, error)
	ReviewPerson(ctx context.Context, token string) (kubepod.Caller, error)
	Allowed(ctx context.Context, c kubepod.Caller, verb string) error
}

// Config is what the API needs; all of it is required.
type Config struct {
	Claims     Claims
	Views      Views
	Operations Operations
	Callers    Callers
	// Observe is told of every answer, for metrics. Route is a pattern.
	Observe func(method, route string, status int, took time.Duration)
	// Routes mounts what belongs to the process rather than to this API (probes,
	// metrics), path → handler, without authentication.
	Routes map[string]http.Handler
	Now    func() time.Time
	Log    *slog.Logger
}

// New makes the handler.
func New(c Config) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = c.writeProblem
	e.Use(middleware.RequestID(), c.observe, middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: c.panicked}), middleware.BodyLimit(maxBody), middleware.ContextTimeout(requestTimeout))
	for path, h := range c.Routes {
		e.GET(path, echo.WrapHandler(h))
	}
	c.pods(e)
	c.people(e)
	return e
}

// pods mounts the calls that a pod makes for itself.
func (c Config) pods(e *echo.Echo) {
	g := e.Group("/v1/pods/:namespace/:pod/claim")
	prove := newProver(c.Callers, c.Now)
	g.PUT("", serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.ClaimRequest) (int, any, error) {
		got, created, err := c.Claims.Claim(ctx, h, req)
		if created {
			return http.StatusCreated, completeClaim(got), err
		}
		return http.StatusOK, completeClaim(got), err
	}))
	g.POST(api.CallTargetGroup, serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.TargetGroupRequest) (int, any, error) {
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
	g.POST(api.CallConflict, serve(prove.pod, func(ctx context.Context, h claim.Holder, req api.ConflictRequest) (int, any, error) {
		got, err := c.Claims.Conflict(ctx, h, req)
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

// decode reads exactly one JSON value without unknown fields.
func decode[T any](x echo.Context) (T, error) {
	var v T
	text, err := io.ReadAll(x.Request().Body)
	if _, tooLarge := errors.AsType[*echo.HTTPError](err); tooLarge {
		return v, err
	}
	if err != nil {
		return v, api.Errorf(api.Malformed, "the body broke off: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, api.Errorf(api.Malformed, "the body is not what this call takes: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, api.Errorf(api.Malformed, "the body holds more than one JSON value")
	}
	return v, nil
}

// panicked logs where a call panicked; its error goes on to writeProblem.
func (c Config) panicked(x echo.Context, err error, stack []byte) error {
	c.Log.ErrorContext(x.Request().Context(), "call panicked", "err", err, "stack", string(stack))
	return err
}

// observe logs and counts every answer.
func (c Config) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		start := c.Now()
		err := next(x)
		if err != nil {
			x.Error(err)
		}
		took, status := c.Now().Sub(start), x.Response().Status
		c.Observe(x.Request().Method, x.Path(), status, took)
		level := slog.LevelDebug
		if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
			level = slog.LevelError
		}
		c.Log.Log(x.Request().Context(), level, "request answered", "method", x.Request().Method, "path", x.Request().URL.Path,
			"status", status, "took", took, "requestID", x.Response().Header().Get(echo.HeaderXRequestID))
		return nil
	}
}

// writeProblem turns any error into a problem document.
func (c Config) writeProblem(err error, x echo.Context) {
	if x.Response().Committed {
		return
	}
	p := c.problem(err, x)
	if p.RetryAfter > 0 {
		x.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	x.Response().Header().Set(echo.HeaderContentType, api.ProblemType)
	x.Response().WriteHeader(p.Status)
	if err := json.NewEncoder(x.Response()).Encode(p); err != nil {
		c.Log.WarnContext(x.Request().Context(), "answer not delivered", "err", err)
	}
}

func (c Config) problem(err error, x echo.Context) *api.Problem {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p
	}
	if h, ok := errors.AsType[*echo.HTTPError](err); ok {
		if h.Code == http.StatusServiceUnavailable {
			return api.Errorf(api.Unavailable, "the call took too long; ask again").WithRetryAfter(time.Second)
		}
		return api.Errorf(api.CodeOf(h.Code), "%v", h.Message)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return api.Errorf(api.Unavailable, "the call took too long; ask again").WithRetryAfter(time.Second)
	}
	id := x.Response().Header().Get(echo.HeaderXRequestID)
	c.Log.ErrorContext(x.Request().Context(), "request failed", "err", err, "requestID", id)
	return api.Errorf(api.Internal, "the allocator failed; its log has the cause under request id %s", id)
}
