// Package client calls the allocator.
//
// Every call of the API may be repeated, so this client repeats what failed on
// the way: connections that broke, proxies that had no one behind them, an
// allocator that is briefly unavailable. What the allocator decided is never
// argued with: it comes back as an *api.Problem, to be matched with errors.Is
// and errors.As, with the time to ask again in its RetryAfter. After any other
// error the outcome of the call is unknown.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/portlease/portlease/shared/api"
)

const (
	defaultTimeout = 30 * time.Second
	// attemptTimeout bounds one try within a call.
	attemptTimeout = 10 * time.Second
	maxRetries     = 4
	minWait        = 200 * time.Millisecond
	// maxWait bounds a pause between tries. A longer Retry-After goes back to the
	// caller, who knows better what to do meanwhile.
	maxWait   = 5 * time.Second
	maxAnswer = 1 << 20
	userAgent = "portlease"
)

// Config says where the allocator is and how to speak to it.
type Config struct {
	// URL is the allocator's, such as https://portlease.portlease.svc.
	URL string
	// TokenFile holds the bearer token. It is read for every request, because
	// projected tokens are replaced while the pod runs. Empty: no token.
	TokenFile string
	// CAFile holds the certificates to trust instead of the system's, in PEM. It
	// is read for every new connection, because it may be replaced too.
	CAFile string
	// Transport replaces the client's own, and with it CAFile.
	Transport http.RoundTripper
	// Timeout bounds a call with all its repetitions; 0 means 30 s.
	Timeout time.Duration
	// Jitter gives numbers in [0,1) that spread repetitions; nil means random.
	Jitter func() float64
}

// Client calls one allocator. It is safe for concurrent use.
type Client struct {
	address *url.URL
	timeout time.Duration
	http    *retryablehttp.Client
}

// New makes a client. It sends nothing yet; the error names the setting that
// cannot be used.
func New(cfg Config) (*Client, error) {
	address, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the allocator's URL: %w", err)
	}
	if (address.Scheme != "https" && address.Scheme != "http") || address.Host == "" {
		return nil, fmt.Errorf("the allocator's URL %q is not of the form https://host:port", cfg.URL)
	}
	transport := cfg.Transport
	if transport == nil {
		if transport, err = newTransport(cfg.CAFile); err != nil {
			return nil, err
		}
	}
	if cfg.TokenFile != "" {
		transport = bearer{file: cfg.TokenFile, next: transport}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	repeat := retryablehttp.NewClient()
	repeat.Logger = nil
	repeat.RetryMax = maxRetries
	repeat.RetryWaitMin = minWait
	repeat.RetryWaitMax = maxWait
	repeat.CheckRetry = repeatable
	repeat.Backoff = backoff(cfg.Jitter)
	repeat.ErrorHandler = retryablehttp.PassthroughErrorHandler
	repeat.HTTPClient = &http.Client{
		Transport: transport,
		Timeout:   attemptTimeout,
		// The allocator redirects nobody, and a token is not for somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{address: address, timeout: cfg.Timeout, http: repeat}, nil
}

// Claim claims all ports of a pod on one load balancer. Asked again it gives the
// same claim, wherever that stands. ErrExhausted and ErrReleasing pass with time,
// as does the code Unsettled; ErrInvalid and ErrForbidden need a person.
func (c *Client) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	claim, err := ask[api.Claim](ctx, c, http.MethodPut, claimURL(c, namespace, pod, ""), r)
	return claim, decorate("claiming ports", err)
}

// TargetGroup records a target group: the licence to create its listener.
// ErrLost.
func (c *Client) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	_, err := ask[nothing](ctx, c, http.MethodPost, claimURL(c, namespace, pod, api.CallTargetGroup), r)
	return decorate("reporting a target group", err)
}

// Bound reports a listener. ErrLost.
func (c *Client) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	_, err := ask[nothing](ctx, c, http.MethodPost, claimURL(c, namespace, pod, api.CallBound), r)
	return decorate("reporting a listener", err)
}

// Renew prolongs a claim. ErrLost.
func (c *Client) Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error) {
	answer, err := ask[api.RenewAnswer](ctx, c, http.MethodPost, claimURL(c, namespace, pod, api.CallRenew), r)
	return answer, decorate("renewing the claim", err)
}

// Conflict says that somebody else's listener is on a port, and gives the claim
// to go on with. ErrLost, ErrExhausted.
func (c *Client) Conflict(ctx context.Context, namespace, pod string, r api.ConflictRequest) (api.Claim, error) {
	claim, err := ask[api.Claim](ctx, c, http.MethodPost, claimURL(c, namespace, pod, api.CallConflict), r)
	return claim, decorate("reporting a conflict", err)
}

// Release begins to release a claim and gives who unbinds what.
func (c *Client) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	answer, err := ask[api.ReleaseAnswer](ctx, c, http.MethodPost, claimURL(c, namespace, pod, api.CallRelease), r)
	return answer, decorate("releasing the claim", err)
}

// Finish says which port leases' listeners and target groups are gone. A claim
// that is over already is success.
func (c *Client) Finish(ctx context.Context, namespace, pod, claimUID string, gone []string) error {
	u := claimURL(c, namespace, pod, "")
	u.RawQuery = url.Values{api.QueryClaimUID: {claimUID}, api.QueryGone: gone}.Encode()
	_, err := ask[nothing](ctx, c, http.MethodDelete, u, nil)
	return decorate("finishing the claim", err)
}

func claimURL(c *Client, namespace, pod, call string) *url.URL {
	return c.address.JoinPath(api.ClaimPath(url.PathEscape(namespace), url.PathEscape(pod)) + call)
}

func decorate(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// nothing is the answer of a call that only succeeds.
type nothing struct{}

func ask[Answer any](ctx context.Context, c *Client, method string, u *url.URL, body any) (Answer, error) {
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
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
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
