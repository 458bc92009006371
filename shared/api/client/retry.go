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

// shouldRetry reports whether to make another attempt. It reads the whole answer, so that
// a truncated one counts as a broken connection, and replaces the body with what it read.
func shouldRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return !permanent(err), err
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

// permanent reports whether no retry within seconds can succeed.
func permanent(err error) bool {
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

// backoff doubles the pause with every attempt and spreads it over its upper half. A
// Retry-After is a lower bound. It is spread over half as much again, because a whole
// fleet may have got the same answer at the same moment.
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

// retryAfter returns the Retry-After header in whole seconds. It ignores a date, which
// would compare two clocks.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(resp.Header.Get("Retry-After")))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds), 24*3600) * time.Second
}

// readProblem decodes a problem of the allocator itself; false for anything else.
func readProblem(resp *http.Response, body []byte) (*api.Problem, bool) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != api.ProblemType {
		return nil, false
	}
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		return nil, false
	}
	// After Lost the agent gives up its ports, which cuts off players. So Lost counts only
	// if code and status agree.
	if p.Code == api.Lost && resp.StatusCode != api.Lost.Status() {
		return nil, false
	}
	p.Status = resp.StatusCode
	p.RetryAfter = retryAfter(resp)
	return &p, true
}

// problem returns the error of an unsuccessful answer. If a proxy sent it, only its status
// counts, and it is never Lost.
func problem(resp *http.Response, body []byte) *api.Problem {
	if p, ok := readProblem(resp, body); ok {
		return p
	}
	const shown = 200
	text := strings.Join(strings.Fields(string(body[:min(len(body), shown)])), " ")
	p := api.Errorf(api.CodeOf(resp.StatusCode), "answered %s by a proxy, not by the allocator: %q", resp.Status, text)
	p.Status = resp.StatusCode
	return p.WithRetryAfter(retryAfter(resp))
}
