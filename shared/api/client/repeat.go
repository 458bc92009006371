package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/portlease/portlease/shared/api"
)

// repeatable tells whether a try is worth another. It reads the whole answer, so
// that one cut off half-way counts as a broken connection, and puts it back for
// whoever comes next.
func repeatable(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return !hopeless(err), err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	closing := resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case err != nil:
		return true, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return false, fmt.Errorf("reading the answer: it is longer than %d bytes", maxAnswer)
	case closing != nil:
		return true, fmt.Errorf("closing the answer: %w", closing)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if decided, ok := readProblem(resp, body); ok && decided.Code != api.Unavailable {
			return false, nil
		}
	default:
		return false, nil
	}
	return retryAfter(resp) <= maxWait, nil
}

// hopeless are failures that no repetition within seconds can mend.
func hopeless(err error) bool {
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

// backoff doubles from the least pause on and spreads each over its upper half.
// An answer's Retry-After is a lower bound. What comes on top of it is spread
// over half as much again, because a whole fleet may have got the same answer at
// the same moment.
func backoff(jitter func() float64) retryablehttp.Backoff {
	return func(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
		pause := min(least<<min(attempt, 16), most)
		pause = pause/2 + time.Duration(jitter()*float64(pause/2))
		if resp != nil {
			if asked := retryAfter(resp); asked > 0 {
				return asked + time.Duration(jitter()*float64(max(least, asked/2)))
			}
		}
		return pause
	}
}

// retryAfter reads whole seconds. The other form, a date, would compare two
// clocks and is ignored.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(resp.Header.Get("Retry-After")))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds), 24*3600) * time.Second
}

// readProblem reads the allocator's own problem; false for anything else.
func readProblem(resp *http.Response, body []byte) (*api.Problem, bool) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != api.ProblemType {
		return nil, false
	}
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		return nil, false
	}
	// Giving a port up cuts players off, so lost is believed only where code and
	// status agree.
	if p.Code == api.Lost && resp.StatusCode != api.Lost.Status() {
		return nil, false
	}
	p.Status = resp.StatusCode
	p.RetryAfter = retryAfter(resp)
	return &p, true
}

// problem is the error of an answer that is no success. One that is not the
// allocator's own is read by its status alone, and never as Lost.
func problem(resp *http.Response, body []byte) *api.Problem {
	if p, ok := readProblem(resp, body); ok {
		return p
	}
	const shown = 200
	text := strings.Join(strings.Fields(string(body[:min(len(body), shown)])), " ")
	p := api.Errorf(api.CodeOf(resp.StatusCode), "answered %s, not by the allocator itself: %q", resp.Status, text)
	p.Status = resp.StatusCode
	return p.WithRetryAfter(retryAfter(resp))
}
