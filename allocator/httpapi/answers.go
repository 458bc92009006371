package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

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
			"status", status, "took", took)
		return nil
	}
}

// writeProblem turns any error into a problem document.
func (c Config) writeProblem(err error, x echo.Context) {
	if x.Response().Committed {
		return
	}
	p := c.problem(err, x)
	header := x.Response().Header()
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		// Whoever is to come again is told when, whatever the reason.
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(max(p.RetryAfter, time.Second).Seconds()))))
	case http.StatusUnauthorized:
		header.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	header.Set(echo.HeaderContentType, api.ProblemType)
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
	c.Log.ErrorContext(x.Request().Context(), "request failed", "err", err)
	return api.Errorf(api.Internal, "the allocator failed; its log has the cause under request id %s", x.Response().Header().Get(api.HeaderRequestID))
}
