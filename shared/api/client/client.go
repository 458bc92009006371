// Package client calls the allocator.
//
// Every call of the API is idempotent, so the client retries transient errors: broken
// connections, proxies without a backend, and an allocator that is briefly unavailable or
// limits the rate. It never retries a decision of the allocator. A decision is an
// *api.Problem: match it with errors.Is or errors.As, and retry after its RetryAfter.
// After any other error the outcome of the call is unknown.
package client

import (
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	defaultTimeout = 30 * time.Second
	// attemptTimeout bounds one attempt of a call.
	attemptTimeout = 10 * time.Second
	maxRetries     = 4
	minWait        = 200 * time.Millisecond
	// maxWait bounds the pause between two attempts. A longer Retry-After is returned to
	// the caller.
	maxWait   = 5 * time.Second
	maxAnswer = 1 << 20
	userAgent = "portlease"
)

// Config says where the allocator is and how to call it.
type Config struct {
	// URL is the URL of the allocator, such as https://portlease.portlease.svc.
	URL string
	// TokenFile has the bearer token; empty means no token. It is read for every request,
	// because the kubelet rotates projected tokens.
	TokenFile string
	// CAFile has the PEM certificates to trust instead of the system's. It is read for
	// every new connection, because it may be rotated, too.
	CAFile string
	// Transport replaces the client's own transport; CAFile is then ignored.
	Transport http.RoundTripper
	// Timeout bounds a call with all its retries; 0 means 30 s.
	Timeout time.Duration
	// Jitter returns numbers in [0,1) that spread retries; nil means random.
	Jitter func() float64
	// NewID returns request ids of letters, digits, dots, underscores and hyphens; nil means
	// random.
	NewID func() string
	// Log gets every call at debug level; it may be nil.
	Log *slog.Logger
}

// Client calls one allocator. It is safe for concurrent use.
type Client struct {
	address *url.URL
	timeout time.Duration
	http    *retryablehttp.Client
	newID   func() string
	log     *slog.Logger
}

// New makes a client. It makes no call yet. The error names the invalid setting.
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
	if cfg.NewID == nil {
		cfg.NewID = crand.Text
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	retrying := retryablehttp.NewClient()
	retrying.Logger = nil
	retrying.RetryMax = maxRetries
	retrying.RetryWaitMin = minWait
	retrying.RetryWaitMax = maxWait
	retrying.CheckRetry = shouldRetry
	retrying.Backoff = backoff(cfg.Jitter)
	retrying.ErrorHandler = retryablehttp.PassthroughErrorHandler
	retrying.HTTPClient = &http.Client{
		Transport: transport,
		Timeout:   attemptTimeout,
		// The allocator never redirects, and the token must not go to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{address: address, timeout: cfg.Timeout, http: retrying, newID: cfg.NewID, log: cfg.Log}, nil
}
