// Package elb is the only door to Elastic Load Balancing version 2.
//
// It speaks in target groups, targets and listeners, and the types of the AWS
// SDK never leave it. What it answers is what AWS said at that moment: reads may
// lag behind writes, and a call that failed with none of this package's errors
// may nevertheless have been carried out.
//
// No call is repeated here, but for a reading one whose answer was lost in this very
// process (see call). The account's mutating calls are limited to a few a
// second for everybody in it
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/throttling.html),
// so a retry behind the caller's back would be paid for by somebody else; the
// callers pace themselves.
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

// callTimeout bounds one request, pages of a listing each on their own. When it
// passes, the error matches context.DeadlineExceeded although the caller's
// context lives on.
const callTimeout = 15 * time.Second

// Client calls ELBv2. It is safe for concurrent use.
type Client struct {
	api *v2.Client
	log *slog.Logger
}

// New makes a client of the given region, credentials and endpoint. The retries
// that the configuration asks for are switched off. log is told of every call, at
// debug; nil: nobody is.
func New(cfg aws.Config, log *slog.Logger) *Client {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg.Retryer = nil
	cfg.RetryMaxAttempts = 0
	return &Client{api: v2.NewFromConfig(cfg, func(o *v2.Options) { o.Retryer = aws.NopRetryer{} }), log: log}
}

// number is the form of the API's numbers. What it cannot hold is out of every
// range of the API and refused there as its limit is.
func number(n int) *int32 {
	return aws.Int32(int32(max(min(n, math.MaxInt32), math.MinInt32)))
}

// call sends one request. doing is the gerund that opens the error, action the
// API action that a policy must allow.
//
// At times net/http closes a connection that it has just taken for idle while an
// answer is read from it (https://github.com/aws/aws-sdk-go-v2/issues/2737). What only
// reads is then asked once more.
func call[In, Out any](
	ctx context.Context, log *slog.Logger, doing, action string, in *In,
	send func(context.Context, *In, ...func(*v2.Options)) (*Out, error),
) (*Out, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := time.Now()
	out, err := send(ctx, in)
	if errors.Is(err, net.ErrClosed) && strings.HasPrefix(action, "Describe") {
		out, err = send(ctx, in)
	}
	log.DebugContext(ctx, "AWS called", "action", action, "took", time.Since(start), "err", err)
	if err != nil {
		return nil, explain(doing, action, err)
	}
	return out, nil
}

// pages collects a whole listing. A marker that comes twice is an error rather
// than an end: what is missing from a listing is taken to be gone.
func pages[T any](ask func(marker *string) ([]T, *string, error)) ([]T, error) {
	var all []T
	var marker *string
	seen := make(map[string]bool)
	for {
		items, next, err := ask(marker)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if aws.ToString(next) == "" {
			return all, nil
		}
		if seen[*next] {
			return nil, fmt.Errorf("listing: the marker %q came twice, so the listing cannot be completed", *next)
		}
		seen[*next] = true
		marker = next
	}
}

// describeLimit is how many ARNs DescribeTags and DescribeLoadBalancers take at
// once
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html).
const describeLimit = 20

// DescribeCalls is how many calls LoadBalancers and Tags make for so many ARNs
// when none of them is gone.
func DescribeCalls(arns int) int { return (arns + describeLimit - 1) / describeLimit }

// pageSize is the largest page of a listing.
const pageSize = 400

// batches asks for arns, describeLimit at a time. AWS fails a whole call when
// one of its ARNs is gone, and does not say which. The batch is then halved
// until the gone ones stand alone and are left out, which costs about two calls
// per halving.
func batches[T any](arns []string, ask func([]string) ([]T, error), gone func(error) bool) ([]T, error) {
	var all []T
	for len(arns) > describeLimit {
		some, err := batches(arns[:describeLimit], ask, gone)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		arns = arns[describeLimit:]
	}
	if len(arns) == 0 {
		return all, nil
	}
	some, err := ask(arns)
	switch {
	case err == nil:
		return append(all, some...), nil
	case !gone(err):
		return nil, err
	case len(arns) == 1:
		return all, nil
	}
	for _, half := range [][]string{arns[:len(arns)/2], arns[len(arns)/2:]} {
		some, err := batches(half, ask, gone)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}
