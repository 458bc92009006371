package api

import (
	"fmt"
	"net/http"
	"time"
)

// Code is a stable word for an error. Programs may branch on it.
type Code string

// The codes of version 1.
const (
	// Malformed means that the body or path does not fit the call.
	Malformed Code = "malformed"
	// Invalid means that a well-formed request can never be granted as it is.
	Invalid Code = "invalid"
	// Unauthenticated means that the token is missing, expired, or made for something else.
	Unauthenticated Code = "unauthenticated"
	// Forbidden means that the caller may not do this.
	Forbidden Code = "forbidden"
	// NotFound means that the named object does not exist.
	NotFound Code = "not_found"
	// Quota means that the pod or its namespace would hold more ports than the pool allows;
	// retry after RetryAfter.
	Quota Code = "quota"
	// Lost means that the claim or fence is over: the agent must withdraw its endpoints.
	Lost Code = "lost"
	// Exhausted means that the pool has no free port; retry after RetryAfter.
	Exhausted Code = "exhausted"
	// Releasing means that an earlier claim of this pod is still being released.
	Releasing Code = "releasing"
	// Pending means that the request cannot be decided yet, for example because the pod
	// has no status yet; retry after RetryAfter.
	Pending Code = "pending"
	// RateLimited means that this caller is over its rate limit; retry after RetryAfter.
	RateLimited Code = "rate_limited"
	// Unavailable means that the API server or AWS does not answer, or that the allocator
	// is overloaded.
	Unavailable Code = "unavailable"
	// TooLarge means that the body is over the limit.
	TooLarge Code = "too_large"
	// MethodNotAllowed means that the path exists with other methods.
	MethodNotAllowed Code = "method_not_allowed"
	// Internal means a defect of the allocator.
	Internal Code = "internal"
)

// statuses maps codes to HTTP statuses, for server and client. CodeOf returns the first
// code of a status.
var statuses = []struct {
	code   Code
	status int
}{
	{Malformed, http.StatusBadRequest},
	{Unauthenticated, http.StatusUnauthorized},
	{Forbidden, http.StatusForbidden},
	{Quota, http.StatusForbidden},
	{NotFound, http.StatusNotFound},
	{MethodNotAllowed, http.StatusMethodNotAllowed},
	{Lost, http.StatusGone},
	{TooLarge, http.StatusRequestEntityTooLarge},
	{Invalid, http.StatusUnprocessableEntity},
	{RateLimited, http.StatusTooManyRequests},
	{Internal, http.StatusInternalServerError},
	{Unavailable, http.StatusServiceUnavailable},
	{Exhausted, http.StatusServiceUnavailable},
	{Releasing, http.StatusServiceUnavailable},
	{Pending, http.StatusServiceUnavailable},
}

// Status returns the HTTP status of a code; an unknown code is treated as Internal.
func (c Code) Status() int {
	for _, s := range statuses {
		if s.code == c {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// CodeOf returns the code for a status without a problem document, which a proxy may have
// sent. It never returns Lost: only the allocator itself can report that.
//
// Redirects and 408 are Unavailable. The allocator sends neither, so a proxy answered
// without forwarding the call. The call itself is fine and may be retried.
func CodeOf(status int) Code {
	for _, s := range statuses {
		if s.status == status && s.code != Lost {
			return s.code
		}
	}
	if status < http.StatusBadRequest || status == http.StatusRequestTimeout || status >= http.StatusInternalServerError {
		return Unavailable
	}
	return Malformed
}

// Problem is an error of the API (RFC 9457, application/problem+json).
type Problem struct {
	Code   Code   `json:"code"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what is wrong and what to do about it.
	Detail string `json:"detail"`
	// RetryAfter is sent as the Retry-After header, in whole seconds.
	RetryAfter time.Duration `json:"-"`
	// Cause is the error behind the problem, for the allocator's log only. It is
	// never sent: it may name internals that callers must not see.
	Cause error `json:"-"`
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Error returns code and detail, and the cause where it is known.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", p.Code, p.Detail, p.Cause)
	}
	return fmt.Sprintf("%s: %s", p.Code, p.Detail)
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Is matches any Problem of the same code, so that errors.Is(err, api.ErrLost)
// works on both sides of the wire.
func (p *Problem) Is(target error) bool {
	t, ok := target.(*Problem)
	return ok && t.Code == p.Code
}

// Errorf makes a Problem. The detail should name the remedy.
func Errorf(code Code, format string, args ...any) *Problem {
	return &Problem{Code: code, Title: http.StatusText(code.Status()), Status: code.Status(), Detail: fmt.Sprintf(format, args...)}
}

// WithRetryAfter returns a copy with a time to retry after.
func (p *Problem) WithRetryAfter(d time.Duration) *Problem {
	q := *p
	q.RetryAfter = d
	return &q
}

// WithCause returns a copy with the error behind it.
func (p *Problem) WithCause(err error) *Problem {
	q := *p
	q.Cause = err
	return &q
}

// Sentinels for errors.Is.
var (
	ErrLost      = &Problem{Code: Lost}
	ErrExhausted = &Problem{Code: Exhausted}
	ErrReleasing = &Problem{Code: Releasing}
	ErrInvalid   = &Problem{Code: Invalid}
	ErrForbidden = &Problem{Code: Forbidden}
	ErrQuota     = &Problem{Code: Quota}
	ErrNotFound  = &Problem{Code: NotFound}
)
