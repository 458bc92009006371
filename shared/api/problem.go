package api

import (
	"fmt"
	"net/http"
	"time"
)

// Code says what went wrong in a stable word that programs may branch on.
type Code string

// The codes of version 1.
const (
	// Malformed is a body or path that is not what the call takes.
	Malformed Code = "malformed"
	// Invalid is a well-formed request that cannot be granted as it is.
	Invalid Code = "invalid"
	// Unauthenticated is a missing, expired or foreign token.
	Unauthenticated Code = "unauthenticated"
	// Forbidden is a token of somebody who may not do this.
	Forbidden Code = "forbidden"
	// NotFound is a thing that does not exist.
	NotFound Code = "not_found"
	// Lost is a claim or fence that is over: the agent must stop announcing.
	Lost Code = "lost"
	// Exhausted is a pool without a free port; ask again after RetryAfter.
	Exhausted Code = "exhausted"
	// Releasing is a claim of this very pod that is still being released.
	Releasing Code = "releasing"
	// Pending is a state of the cluster that will pass, such as a pod whose
	// status is not written yet; ask again after RetryAfter.
	Pending Code = "pending"
	// RateLimited is a caller that asks too often; ask again after RetryAfter.
	RateLimited Code = "rate_limited"
	// Unavailable is an API server or AWS that does not answer, or an allocator
	// with too much to do.
	Unavailable Code = "unavailable"
	// TooLarge is a body over the limit.
	TooLarge Code = "too_large"
	// MethodNotAllowed is a path that exists with other methods.
	MethodNotAllowed Code = "method_not_allowed"
	// Internal is a defect of the allocator.
	Internal Code = "internal"
)

// statuses maps every code to its HTTP status, for server and client alike. The
// first code of a status is what a bare status is read as.
var statuses = []struct {
	code   Code
	status int
}{
	{Malformed, http.StatusBadRequest},
	{Unauthenticated, http.StatusUnauthorized},
	{Forbidden, http.StatusForbidden},
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

// Status is the HTTP status of a code; an unknown code is an Internal one.
func (c Code) Status() int {
	for _, s := range statuses {
		if s.code == c {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// CodeOf reads a bare HTTP status, as a proxy between the two sides may send it.
// Lost is never read from a bare status: only the allocator itself can say it.
//
// A redirect and a 408 are Unavailable: the allocator sends neither, so somebody
// on the way did, who did not pass the call on. It may well get through the next
// time, and nothing is wrong with the call itself.
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

// Error gives code and detail, and the cause on the side that knows it.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", p.Code, p.Detail, p.Cause)
	}
	return fmt.Sprintf("%s: %s", p.Code, p.Detail)
}

// Unwrap gives the cause.
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

// WithRetryAfter gives the same problem with a time to ask again.
func (p *Problem) WithRetryAfter(d time.Duration) *Problem {
	q := *p
	q.RetryAfter = d
	return &q
}

// WithCause gives the same problem with the error behind it.
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
	ErrNotFound  = &Problem{Code: NotFound}
)
