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

// nothing is the answer of a call that only succeeds.
type nothing struct{}

// call makes one call and names it: the same request id goes along with every
// try, and is in the error, so that both sides' logs tell of the same thing.
func call[Answer any](ctx context.Context, c *Client, doing, method string, u *url.URL, body any) (Answer, error) {
	id, start := c.newID(), time.Now()
	answer, err := ask[Answer](ctx, c, id, method, u, body)
	c.log.DebugContext(ctx, "allocator called", "method", method, "path", u.Path, "requestID", id, "took", time.Since(start), "err", err)
	if err != nil {
		return answer, fmt.Errorf("%s (request %s): %w", doing, id, err)
	}
	return answer, nil
}

func ask[Answer any](ctx context.Context, c *Client, id, method string, u *url.URL, body any) (Answer, error) {
	var answer Answer
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var encoded any // stays a nil interface without a body: a nil []byte would be one
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
	// repeatable has read the body already: this reads memory.
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
		return answer, fmt.Errorf("reading an answer that is not the allocator's; a proxy may answer in its place: %w", err)
	}
	return answer, nil
}
