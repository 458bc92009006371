package site

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// Caller makes the calls of pods. It has an address of its own, because the allocator
// limits what comes from one address, and keeps its connection, as agents do.
type Caller struct {
	http  *http.Client
	url   string
	games string
}

// callTimeout is an agent's for one attempt.
const callTimeout = 10 * time.Second

// NewCaller makes the caller of that number, for one replica. Different numbers have
// different addresses.
func (s *Site) NewCaller(number int, a *rig.Replica) *Caller {
	return &Caller{url: a.URL(), games: s.Games, http: &http.Client{Timeout: callTimeout, Transport: s.transport(number)}}
}

// Close closes the caller's connection.
func (c *Caller) Close() { c.http.CloseIdleConnections() }

// Answer is the allocator's to one call.
type Answer struct {
	Status int
	// RetryAfter is when to ask again; 0 if the answer does not say.
	RetryAfter time.Duration
	Body       []byte
}

// OK reports whether the call succeeded.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 }

// Retry reports whether the answer is that the same call may succeed later.
func (a Answer) Retry() bool {
	return a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests
}

// Call makes one call of a pod on its claim. An answer of any status is no error.
func (c *Caller) Call(ctx context.Context, p *Pod, method, call string, body any) (Answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return Answer{}, fmt.Errorf("encoding a call: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+api.ClaimPath(c.games, p.Name)+call, bytes.NewReader(text))
	if err != nil {
		return Answer{}, fmt.Errorf("making a call: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+p.Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("calling the allocator: %w", err)
	}
	defer response.Body.Close()
	a := Answer{Status: response.StatusCode}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		a.RetryAfter = time.Duration(seconds) * time.Second
	}
	if a.Body, err = io.ReadAll(response.Body); err != nil {
		return Answer{}, fmt.Errorf("reading an answer: %w", err)
	}
	return a, nil
}
