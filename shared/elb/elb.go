// Package elb is the client of Elastic Load Balancing version 2.
//
// It deals in target groups, targets and listeners; the types of the AWS SDK stay
// inside. It returns what AWS says at that moment, and AWS reads may lag behind writes.
// A call that failed with none of this package's errors may have been carried out.
//
// The package retries no call, except Describe calls whose answer was lost in this
// process (see call). AWS limits an account to a few mutating calls a second
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/throttling.html),
// so a hidden retry would take calls from other agents. The callers pace themselves;
// WithBudget paces Describe calls for them, request by request.
package elb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// callTimeout bounds one request; each page of a listing is a request. After it the
// error matches context.DeadlineExceeded although the caller's context has not ended.
const callTimeout = 15 * time.Second

// Client calls ELBv2. It is safe for concurrent use.
type Client struct {
	api         *v2.Client
	credentials aws.CredentialsProvider
	log         *slog.Logger
	budget      Budget // nil for none
	observe     func(Call)
}

// Call is one request that AWS has answered, or not.
type Call struct {
	Action string
	// Code is AWS's code of the error; empty for success, and NoAnswer if there was none.
	Code string
	Took time.Duration
}

// NoAnswer is the code of a call to which no answer came.
const NoAnswer = "no answer"

// Observed returns a client that calls observe after each request. It must not block.
func (c *Client) Observed(observe func(Call)) *Client {
	observed := *c
	observed.observe = observe
	return &observed
}

// Budget pays for Describe requests.
type Budget interface {
	// ReserveDescribe waits until one Describe request may be sent.
	ReserveDescribe(ctx context.Context) error
	// DescribeThrottled is told of each request that AWS throttled all the same.
	DescribeThrottled(ctx context.Context) error
}

// WithBudget returns a client that reserves every Describe request before it is sent: every
// page of a listing, every batch of ARNs and every repetition.
func (c *Client) WithBudget(b Budget) *Client {
	paying := *c
	paying.budget = b
	return &paying
}

// New makes a client from a configuration with region, credentials and perhaps an
// endpoint. It turns off retries. log gets every call at debug level; it may be nil.
func New(cfg aws.Config, log *slog.Logger) *Client {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg.Retryer = nil
	cfg.RetryMaxAttempts = 0
	api := v2.NewFromConfig(cfg, func(o *v2.Options) { o.Retryer = aws.NopRetryer{} })
	return &Client{api: api, credentials: api.Options().Credentials, log: log, observe: func(Call) {}}
}

// number converts to the API's integers. AWS refuses the largest and smallest of them, so
// clamping a value keeps it invalid.
func number(n int) *int32 {
	return aws.Int32(int32(max(min(n, math.MaxInt32), math.MinInt32)))
}

// call sends one request. doing starts the error message. action is the API action that
// a policy must allow.
//
// net/http sometimes closes a connection as idle while an answer is read from it
// (https://github.com/aws/aws-sdk-go-v2/issues/2737). Describe calls are then sent once
// more.
func call[In, Out any](
	ctx context.Context, c *Client, doing, action string, in *In,
	send func(context.Context, *In, ...func(*v2.Options)) (*Out, error),
) (*Out, error) {
	describes := strings.HasPrefix(action, "Describe")
	out, err := attempt(ctx, c, doing, action, in, send)
	if describes && errors.Is(err, net.ErrClosed) {
		out, err = attempt(ctx, c, doing, action, in, send)
	}
	if describes && c.budget != nil && errors.Is(err, ErrThrottled) {
		err = errors.Join(err, c.budget.DescribeThrottled(ctx))
	}
	return out, err
}

// attempt pays for one request and sends it. The time that it waits for the budget does not
// count for callTimeout.
func attempt[In, Out any](
	ctx context.Context, c *Client, doing, action string, in *In,
	send func(context.Context, *In, ...func(*v2.Options)) (*Out, error),
) (*Out, error) {
	if c.budget != nil && strings.HasPrefix(action, "Describe") {
		if err := c.budget.ReserveDescribe(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.retrieveCredentials(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	start := time.Now()
	out, err := send(ctx, in)
	took := time.Since(start)
	c.observe(Call{Action: action, Code: codeOf(err), Took: took})
	c.logCall(ctx, action, took, err)
	if err != nil {
		return nil, explain(doing, action, err)
	}
	return out, nil
}

// logCall logs a request, and AWS's id of one that failed.
func (c *Client) logCall(ctx context.Context, action string, took time.Duration, err error) {
	attrs := []any{"action", action, "took", took, "err", err}
	if id := requestIDOf(err); id != "" {
		attrs = append(attrs, "awsRequestID", id)
	}
	c.log.DebugContext(ctx, "AWS called", attrs...)
}

// retrieveCredentials fetches the credentials unless the SDK still has valid ones. The
// services that issue them are others than ELBv2: their refusals and their throttling say
// nothing about the call itself.
func (c *Client) retrieveCredentials(ctx context.Context) error {
	if c.credentials == nil {
		return nil
	}
	_, err := c.credentials.Retrieve(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrCredentials, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %v", ErrCredentials, err) //nolint:errorlint // no caller may depend on the SDK's types
}

// pages collects all pages of a listing. A repeated marker is an error, because callers
// treat what is missing from a listing as gone.
func pages[T any](fetch func(marker *string) ([]T, *string, error)) ([]T, error) {
	var all []T
	var marker *string
	seen := make(map[string]bool)
	for {
		items, next, err := fetch(marker)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if aws.ToString(next) == "" {
			return all, nil
		}
		if seen[*next] {
			return nil, fmt.Errorf("listing: AWS repeated the marker %q, so the listing is incomplete", *next)
		}
		seen[*next] = true
		marker = next
	}
}

// DescribeLimit is how many ARNs one DescribeTags or DescribeLoadBalancers request accepts
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html).
const DescribeLimit = 20

// DescribeCalls returns how many requests LoadBalancers and Tags send for a number of ARNs
// that all exist.
func DescribeCalls(arns int) int { return (arns + DescribeLimit - 1) / DescribeLimit }

// PageSize is the largest page of a listing.
const PageSize = 400

// batches describes arns, DescribeLimit at a time. With an error it returns what it has read
// so far as well. AWS fails a whole call if one of its
// ARNs is gone, and does not say which. Then batches halves the call until it has
// isolated the gone ARNs, and leaves them out. That costs about two calls per halving.
func batches[T any](arns []string, describe func([]string) ([]T, error), gone func(error) bool) ([]T, error) {
	var all []T
	for len(arns) > DescribeLimit {
		some, err := batches(arns[:DescribeLimit], describe, gone)
		all = append(all, some...)
		if err != nil {
			return all, err
		}
		arns = arns[DescribeLimit:]
	}
	if len(arns) == 0 {
		return all, nil
	}
	some, err := describe(arns)
	switch {
	case err == nil:
		return append(all, some...), nil
	case !gone(err):
		return all, err
	case len(arns) == 1:
		return all, nil
	}
	for _, half := range [][]string{arns[:len(arns)/2], arns[len(arns)/2:]} {
		some, err := batches(half, describe, gone)
		all = append(all, some...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}
