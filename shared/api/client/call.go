package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/portlease/portlease/shared/api"
)

// nothing is the answer type of a call without an answer.
type nothing struct{}

// call makes one call. All its attempts have the same request id, which is also in the
// error, so that the logs of both sides can be matched.
func call[Answer any](ctx context.Context, c *Client, doing, method string, u *url.URL, body any) (Answer, error) {
	id, start := c.newID(), time.Now()
	answer, err := send[Answer](ctx, c, id, method, u, body)
	c.log.DebugContext(ctx, "allocator called", "method", method, "path", u.Path, "requestID", id, "took", time.Since(start), "err", err)
	if err != nil {
		return answer, fmt.Errorf("%s (request %s): %w", doing, id, err)
	}
	return answer, nil
}

func send[Answer any](ctx context.Context, c *Client, id, method string, u *url.URL, body any) (Answer, error) {
	var answer Answer
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var encoded any // must be a nil interface without a body; a nil []byte would be sent as an empty one
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer, fmt.Errorf("encoding the request: %w", err)
		}
		encoded = text
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, method, u.String(), encoded)
	if err != nil {
		return answer, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, "+api.ProblemType)
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set(api.HeaderRequestID, id)
	resp, err := c.http.Do(req)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return answer, err
	}
	// shouldRetry has read the body already, so this reads from memory.
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer, fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return answer, problem(resp, text)
	}
	if _, empty := any(answer).(nothing); empty {
		return answer, nil
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, fmt.Errorf("decoding the answer; a proxy may have answered for the allocator: %w", err)
	}
	return answer, nil
}
