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

// answer is around every handler: it is the one place where an error becomes a
// problem document, is logged and is counted.
func (c Config) answer(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		start := c.Now()
		var p *api.Problem
		err := next(x)
		if err != nil {
			p = problemOf(err, x.Response().Header().Get(api.HeaderRequestID))
			c.writeProblem(x, p)
		}
		a := Answer{Method: x.Request().Method, Route: x.Path(), Status: x.Response().Status, Took: c.Now().Sub(start)}
		if p != nil {
			a.Code = p.Code
		}
		c.Observe(a)
		c.log(x, a, err)
		return nil
	}
}

// log writes one line about an answer. A failure of what the allocator depends on
// is a warning, a defect of its own an error, everything else is for debugging.
func (c Config) log(x echo.Context, a Answer, err error) {
	ctx := x.Request().Context()
	attrs := []any{"method", a.Method, "path", x.Request().URL.Path, "status", a.Status, "took", a.Took}
	if err == nil {
		c.Log.DebugContext(ctx, "request answered", attrs...)
		return
	}
	attrs = append([]any{"code", string(a.Code), "err", err}, attrs...)
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, "stack", string(p.stack))
	}
	level := slog.LevelDebug
	switch {
	case a.Code == api.Internal:
		level = slog.LevelError
	case a.Status == http.StatusServiceUnavailable && causeOf(err) != nil:
		level = slog.LevelWarn
	}
	c.Log.Log(ctx, level, "request failed", attrs...)
}

// causeOf gives what is behind an error beside its answer; nil if it says all.
func causeOf(err error) error {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p.Cause
	}
	return err
}

// panicError is a panic of a handler.
type panicError struct {
	error
	stack []byte
}

func (p *panicError) Unwrap() error { return p.error }

// recovered keeps the stack with the error of a panic.
func recovered(_ echo.Context, err error, stack []byte) error { return &panicError{err, stack} }

// problemOf gives the answer to an error. It never has the error's own text, unless
// that is a problem already.
func problemOf(err error, requestID string) *api.Problem {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p
	}
	h, routed := errors.AsType[*echo.HTTPError](err)
	switch {
	case routed && h.Code == http.StatusServiceUnavailable, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return api.Errorf(api.Unavailable, "the call took too long; retry").WithRetryAfter(time.Second)
	case routed && h.Code < http.StatusInternalServerError:
		return api.Errorf(api.CodeOf(h.Code), "%v", h.Message)
	}
	return api.Errorf(api.Internal, "internal error; the allocator's log has the cause under request id %s", requestID)
}

// writeProblem answers with a problem document, unless an answer has begun.
func (c Config) writeProblem(x echo.Context, p *api.Problem) {
	if x.Response().Committed {
		return
	}
	header := x.Response().Header()
	switch {
	case p.Status == http.StatusServiceUnavailable, p.Status == http.StatusTooManyRequests, p.Code == api.Quota:
		// A caller that should retry is always told when.
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(max(p.RetryAfter, time.Second).Seconds()))))
	case p.Status == http.StatusUnauthorized:
		header.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	header.Set(echo.HeaderContentType, api.ProblemType)
	x.Response().WriteHeader(p.Status)
	if err := json.NewEncoder(x.Response()).Encode(p); err != nil {
		c.Log.WarnContext(x.Request().Context(), "failed to write the answer", "err", err)
	}
}
