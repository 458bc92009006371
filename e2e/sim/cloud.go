package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

const region = "us-east-1"

// longestLag is how long a call may miss a new target group.
const longestLag = 12 * time.Second

// cloud is the AWS account.
type cloud struct {
	emulator *elbemu.Emulator
	// inUse is how long AWS says of a target group that it is in use.
	inUse time.Duration
	// lag is for how long calls of processes may miss a new target group. Those of
	// operators and foreign actors never do.
	lag time.Duration
	// inUseWindow and propagation are what the processes are told of these. It may be wrong.
	inUseWindow, propagation time.Duration
	// judge checks a call before it is applied.
	judge func(p *Process, params url.Values) error
	// broken is the first violation that judge found.
	broken error
	// known is what the judge asks about after each change; nil unless the account is large.
	known *resources
	// last is the state after the last change; nil if something may have changed since.
	last *elbemu.Snapshot
}

// seen is the state as of the last change. Changes of targets by time alone may be
// missing.
func (c *cloud) seen() (s elbemu.Snapshot, changed bool) {
	changed = c.last == nil
	if changed {
		s := c.emulator.Snapshot()
		c.last = &s
	}
	return *c.last, changed
}

// around is the part of the account that a port, and some ARNs, are about, or all of it.
func (c *cloud) around(port string, arns ...string) elbemu.Snapshot {
	if c.known != nil {
		return c.known.around(port, arns...)
	}
	s, _ := c.seen()
	return s
}

// newCloud makes an account as large as a real one, or a small one that differs by seed.
func newCloud(r *rand.Rand, scale *Scale) (*cloud, error) {
	if scale != nil {
		return newAccount(r, scale.account())
	}
	c := elbemu.Config{
		Region: region, Now: time.Now, Rand: rand.NewPCG(r.Uint64(), r.Uint64()),
		Delays: &elbemu.Delays{
			InUse:   []time.Duration{0, 5 * time.Second, 20 * time.Second}[r.IntN(3)],
			Visible: []time.Duration{0, 2 * time.Second}[r.IntN(2)],
		},
		Switches: elbemu.Switches{MissingTargetGroupFails: r.IntN(2) == 0, TagsCompared: r.IntN(2) == 0},
	}
	emulator, err := elbemu.New(c)
	if err != nil {
		return nil, fmt.Errorf("making the emulator: %w", err)
	}
	lag := []time.Duration{0, 2 * time.Second, longestLag}[r.IntN(3)]
	return &cloud{
		emulator: emulator, inUse: c.Delays.InUse, lag: lag,
		inUseWindow: []time.Duration{0, 5 * time.Second, 20 * time.Second}[r.IntN(3)], propagation: []time.Duration{0, 2 * time.Second}[r.IntN(2)],
	}, nil
}

// newAccount makes an account whose delays are those that the processes are told of.
func newAccount(r *rand.Rand, c elbemu.Config) (*cloud, error) {
	c.Region, c.Now, c.Rand = region, time.Now, rand.NewPCG(r.Uint64(), r.Uint64())
	emulator, err := elbemu.New(c)
	if err != nil {
		return nil, fmt.Errorf("making the emulator: %w", err)
	}
	return &cloud{
		emulator: emulator, inUse: c.Delays.InUse, lag: elbemu.PublishedDelays().TargetGroupLag, inUseWindow: c.Delays.InUse,
		propagation: elbemu.PublishedDelays().TargetGroupLag,
	}, nil
}

// note records what a call has changed.
func (c *cloud) note(k kind, params url.Values, o outcome) {
	if r, ok := o.value.(reply); ok && k == kindAWSWrite && c.known != nil {
		c.known.update(c.emulator, params, r.body)
	}
}

// configuration makes an AWS configuration with a transport.
func configuration(t http.RoundTripper) aws.Config {
	return aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient: &http.Client{Transport: t},
	}
}

// reply is an HTTP answer in memory.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// String implements fmt.Stringer for the trace.
func (r reply) String() string {
	if code := r.header.Get(elbemu.CodeHeader); code != "" {
		return code
	}
	return http.StatusText(r.status)
}

func (r reply) response(req *http.Request) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)), StatusCode: r.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: r.header.Clone(),
		Body: io.NopCloser(bytes.NewReader(r.body)), ContentLength: int64(len(r.body)), Request: req,
	}
}

// awsTransport carries one process's calls to AWS through the scheduler.
type awsTransport struct {
	process *Process
	cloud   *cloud
}

// RoundTrip implements http.RoundTripper.
func (t awsTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := takeBody(req)
	if err != nil {
		return nil, err
	}
	params, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("reading the form: %w", err)
	}
	k := kindAWSWrite
	if strings.HasPrefix(params.Get("Action"), "Describe") {
		k = kindAWSRead
	}
	send := func(f *elbemu.Fault) outcome {
		if k == kindAWSWrite {
			t.cloud.last = nil
		}
		r, err := t.cloud.send(req, body, f)
		return outcome{r, err}
	}
	listed := ""
	if params.Get("Action") == "DescribeListeners" {
		listed = params.Get("LoadBalancerArn")
	}
	ctx := req.Context()
	if params.Get("Action") == "RegisterTargets" && threadOf(ctx) == "" {
		// An agent registers beside creating its listener, on a goroutine of its own.
		ctx = onThread(ctx, "register")
	}
	if arn := params.Get("TargetGroupArn") + params.Get("ListenerArn"); t.process.owner == "" && strings.HasPrefix(params.Get("Action"), "Delete") {
		// The janitor makes several deletions at once, each on a goroutine of its own.
		ctx = onThread(ctx, threadOf(ctx)+" "+arn)
	}
	o := t.process.do(ctx, &call{
		kind: k, what: describe(params),
		apply: func(*call) (outcome, bool) {
			if err := t.cloud.judge(t.process, params); err != nil && t.cloud.broken == nil {
				t.cloud.broken = err
			}
			o := send(nil)
			t.cloud.note(k, params, o)
			return o, true
		},
		refusal: func(f elbemu.Fault) outcome { return send(&f) }, listed: listed,
	})
	if o.err != nil {
		return nil, o.err
	}
	r, ok := o.value.(reply)
	if !ok {
		return nil, errLost
	}
	return r.response(req), nil
}

// describe describes a call in a trace.
func describe(params url.Values) string {
	words := []string{params.Get("Action")}
	for _, name := range []string{"Name", "Port", "ListenerArn", "TargetGroupArn", "DefaultActions.member.1.TargetGroupArn", "Targets.member.1.Id", "ResourceArns.member.1", "ResourceArns.member.2"} {
		if value := params.Get(name); value != "" {
			words = append(words, value[strings.LastIndexByte(value, '/')+1:])
		}
	}
	return strings.Join(words, " ")
}

func takeBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	return body, errors.Join(err, req.Body.Close())
}

// send makes the emulator answer a call now, whether or not the caller still waits.
func (c *cloud) send(req *http.Request, body []byte, f *elbemu.Fault) (reply, error) {
	if f != nil {
		c.emulator.SetFault(func(elbemu.Call) elbemu.Fault { return *f })
		defer c.emulator.SetFault(nil)
	}
	c.emulator.SetTargetGroupLag(c.lag)
	defer c.emulator.SetTargetGroupLag(0)
	sent := req.Clone(context.WithoutCancel(req.Context()))
	sent.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := c.emulator.RoundTrip(sent)
	if err != nil {
		return reply{}, err
	}
	answer, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, answer}, errors.Join(err, resp.Body.Close())
}

// operator is an AWS client without faults, for foreign actors and operators.
func (c *cloud) operator() *elbv2.Client {
	c.last = nil
	return elbv2.NewFromConfig(configuration(c.emulator))
}

// makeLoadBalancer makes a load balancer as an operator does.
func (c *cloud) makeLoadBalancer(ctx context.Context, name string) (string, error) {
	made, err := c.operator().CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{
		Name: &name, Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-local-a", "subnet-local-b"},
	})
	if err != nil {
		return "", fmt.Errorf("creating load balancer %s: %w", name, err)
	}
	arn := aws.ToString(made.LoadBalancers[0].LoadBalancerArn)
	_, err = c.operator().ModifyLoadBalancerAttributes(ctx, &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &arn,
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")}},
	})
	if err != nil {
		return "", fmt.Errorf("switching cross-zone on for %s: %w", name, err)
	}
	return arn, nil
}
