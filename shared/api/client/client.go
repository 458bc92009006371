// Package client calls the allocator.
//
// Every call of the API may be repeated, so this client repeats what failed on
// the way: connections that broke, proxies that had no one behind them, an
// allocator that is briefly unavailable or asks for some patience. What the
// allocator decided is never argued with: it comes back as an *api.Problem, to be
// matched with errors.Is and errors.As, with the time to ask again in its
// RetryAfter. After any other error the outcome of the call is unknown.
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
	// NewID names each call with letters, digits, dots, underscores and hyphens; nil
	// means random.
	NewID func() string
	// Log is told of every call, at debug; nil: nobody is.
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
	if cfg.NewID == nil {
		cfg.NewID = crand.Text
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
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
	return &Client{address: address, timeout: cfg.Timeout, http: repeat, newID: cfg.NewID, log: cfg.Log}, nil
}
