// Package httpapi serves the allocator's HTTP API, version 1, for pods and
// people. It is the only package that knows echo.
//
// A handler is a few lines: reading a body, proving the caller, turning an error
// into a problem document, logging and counting exist once, around all of them.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/shared/api"
)

// requestTimeout bounds what is done for one request, from its admission on.
const requestTimeout = 20 * time.Second

// Claims are the calls of pods. Errors that are an *api.Problem go to the caller
// as they are; any other is logged and answered as internal.
type Claims interface {
	Claim(ctx context.Context, h claim.Holder, req api.ClaimRequest) (c api.Claim, created bool, err error)
	TargetGroup(ctx context.Context, h claim.Holder, req api.TargetGroupRequest) error
	Bound(ctx context.Context, h claim.Holder, req api.BoundRequest) error
	Renew(ctx context.Context, h claim.Holder, req api.RenewRequest) (api.RenewAnswer, error)
	ReportCollision(ctx context.Context, h claim.Holder, req api.CollisionRequest) (api.Claim, error)
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
	// Alive is a consistent look; api.Forbidden if that very pod is gone or has
	// ended.
	Alive(ctx context.Context, c kubepod.Caller) error
	Allowed(ctx context.Context, c kubepod.Caller, verb string) error
}

// Config is what the API needs; all of it is required.
type Config struct {
	Claims     Claims
	Views      Views
	Operations Operations
	Callers    Callers
	// Observe is told of every answer, for metrics.
	Observe func(Answer)
	// Routes mounts what belongs to the process rather than to this API (probes,
	// metrics), path → handler, without authentication.
	Routes map[string]http.Handler
	Now    func() time.Time
	Log    *slog.Logger
}

// Answer is what metrics learn of an answer.
type Answer struct {
	Method string
	// Route is a pattern, such as /v1/pods/:namespace/:pod/claim.
	Route  string
	Status int
	// Code is that of the problem; empty if the call succeeded.
	Code api.Code
	Took time.Duration
}

// New makes the handler.
func New(c Config) http.Handler { return c.router() }

func (c Config) router() *echo.Echo {
	e := c.bare()
	e.Use(whole, newAdmission(c.Routes).admit, middleware.ContextTimeout(requestTimeout))
	prove := newProver(c.Callers, c.Now)
	c.pods(e, prove)
	c.people(e, prove)
	c.open(e)
	return e
}

// whole sends away paths with an empty segment. The router takes some of them
// for a call with an empty parameter, and they name nothing.
func whole(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		if strings.Contains(echo.GetPath(x.Request()), "//") {
			return echo.ErrNotFound
		}
		return next(x)
	}
}

// Starting makes the handler of a process that has not read the ledger yet: its
// own routes are there, and every call is to come again. It needs no more than
// Observe, Routes, Now and Log.
func Starting(c Config) http.Handler {
	e := c.bare()
	e.Any("/*", func(echo.Context) error {
		return api.Errorf(api.Unavailable, "the ledger has not been read yet; ask again").WithRetryAfter(time.Second)
	})
	return e
}

// bare has what is around every answer, and the process's own routes.
func (c Config) bare() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Use(name, c.answer, middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: recovered, DisableErrorHandler: true}))
	for path, h := range c.Routes {
		e.GET(path, echo.WrapHandler(h))
	}
	return e
}
