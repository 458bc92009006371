// Package httpapi serves the allocator's HTTP API, version 1, for pods and admins.
// It is the only package that knows echo.
//
// A handler is a few lines. Authenticating the caller, decoding the body, and turning
// an error into a problem document, a log line and a metric exist once, around all of
// them.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/shared/api"
)

// requestTimeout bounds one request, from its admission on.
const requestTimeout = 20 * time.Second

// probesRunning is how many requests for one probe or the metrics run at once, probesQueued how many
// more wait.
const (
	probesRunning = 16
	probesQueued  = 64
)

// Claims are the calls of pods. An *api.Problem is sent to the caller without its
// cause; any other error is answered as internal.
type Claims interface {
	Claim(ctx context.Context, h claim.Holder, req api.ClaimRequest) (c api.Claim, created bool, err error)
	TargetGroup(ctx context.Context, h claim.Holder, req api.TargetGroupRequest) error
	Bound(ctx context.Context, h claim.Holder, req api.BoundRequest) error
	Renew(ctx context.Context, h claim.Holder, req api.RenewRequest) (api.RenewAnswer, error)
	ReportCollision(ctx context.Context, h claim.Holder, req api.CollisionRequest) (api.Claim, error)
	Release(ctx context.Context, h claim.Holder, req api.ReleaseRequest) (api.ReleaseAnswer, error)
	Finish(ctx context.Context, h claim.Holder, claimUID string, gone []string) error
}

// Views are what admins see.
type Views interface {
	Pools(ctx context.Context) (api.PoolList, error)
	Ports(ctx context.Context) (api.PortList, error)
	// Port and ClaimOf answer api.NotFound for what does not exist.
	Port(ctx context.Context, loadBalancerID string, port int) (api.PortView, error)
	ClaimOf(ctx context.Context, namespace, pod string) (api.Claim, error)
}

// Operations are what admins change. The user is known to the API server and has been
// authorized. Each call is idempotent and answers with the resulting state, or
// api.NotFound for a port or load balancer of no pool.
type Operations interface {
	Block(ctx context.Context, user, loadBalancerID string, port int, reason string) (api.PortView, error)
	Unblock(ctx context.Context, user, loadBalancerID string, port int) (api.PortView, error)
	Cordon(ctx context.Context, user, loadBalancerID, reason string) (api.LoadBalancerView, error)
	Uncordon(ctx context.Context, user, loadBalancerID string) (api.LoadBalancerView, error)
}

// Config is what the API needs; all of it is required.
type Config struct {
	Claims     Claims
	Views      Views
	Operations Operations
	Auth       *auth.Authenticator
	// Fleet gives how many pods have a claim at this moment; tables of callers grow
	// with it.
	Fleet func() int
	// Observe is told of every answer, for metrics.
	Observe func(Answer)
	// Probes are the process's own, path → handler. They need no authentication.
	Probes map[string]http.Handler
	// Metrics serves the metrics, which need none either.
	Metrics http.Handler
	Now     func() time.Time
	Log     *slog.Logger
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
	e.Use(rejectEmptySegments)
	access, admission := newAccess(c), newAdmission(c.Now)
	c.pods(e, access, admission)
	c.admin(e, access, admission)
	c.public(e, admission)
	return e
}

// rejectEmptySegments answers 404 for paths such as /v1/ports//1, which the router
// would take for a call with an empty parameter.
func rejectEmptySegments(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		if strings.Contains(echo.GetPath(x.Request()), "//") {
			return echo.ErrNotFound
		}
		return next(x)
	}
}

// Starting makes the handler of a process that has not read the ledger yet: it serves
// Probes and Metrics, and answers every call with unavailable. It needs no more than
// those, Observe, Fleet, Now and Log.
func Starting(c Config) http.Handler {
	e := c.bare()
	e.Any("/*", func(echo.Context) error {
		return api.Errorf(api.Unavailable, "the allocator is starting and has not read the ledger yet; retry").WithRetryAfter(time.Second)
	})
	return e
}

// bare makes a router with the middleware around every answer, Probes and Metrics.
func (c Config) bare() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Use(assignRequestID, c.answer, middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: recovered, DisableErrorHandler: true}))
	// Each has slots of its own: an overloaded allocator is not dead, and its metrics are
	// needed most then.
	for path, h := range c.Probes {
		e.GET(path, echo.WrapHandler(h), sendLater, newSlots(probesRunning, probesQueued, c.Now).admit)
	}
	e.GET("/metrics", echo.WrapHandler(c.Metrics), newLimiter(metricsRateLimit, c).perAddress, sendLater, newSlots(probesRunning, probesQueued, c.Now).admit)
	return e
}
