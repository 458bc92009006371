package elb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// account is an emulated AWS account and its client.
type account struct {
	*elb.Client
	emulator *elbemu.Emulator
	t        *testing.T
}

func newAccount(t *testing.T, cfg elbemu.Config) account {
	t.Helper()
	emulator, err := elbemu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	return account{Client: clientOver(emulator), emulator: emulator, t: t}
}

func clientOver(transport http.RoundTripper) *elb.Client { return loggingClientOver(transport, nil) }

func loggingClientOver(transport http.RoundTripper, log *slog.Logger) *elb.Client {
	return elb.New(aws.Config{
		Region:      "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		HTTPClient:  &http.Client{Transport: transport},
	}, log)
}

var arnPattern = regexp.MustCompile(`<LoadBalancerArn>([^<]+)<`)

// loadBalancer creates a load balancer as an admin would; the client cannot.
func (a account) loadBalancer(name string) string {
	a.t.Helper()
	body := a.post(url.Values{
		"Action": {"CreateLoadBalancer"}, "Name": {name}, "Type": {"network"},
		"Subnets.member.1": {"subnet-local-a"}, "Subnets.member.2": {"subnet-local-b"},
	})
	match := arnPattern.FindStringSubmatch(body)
	if match == nil {
		a.t.Fatalf("no load balancer in %s", body)
	}
	return match[1]
}

func (a account) post(form url.Values) string {
	a.t.Helper()
	body, err := post(a.t.Context(), a.emulator, form)
	if err != nil {
		a.t.Fatal(err)
	}
	return body
}

// post makes a call that the client cannot make.
func post(ctx context.Context, emulator http.RoundTripper, form url.Values) (string, error) {
	form.Set("Version", "2015-12-01")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://elb.test/", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := emulator.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d %s", form.Get("Action"), resp.StatusCode, body)
	}
	if err != nil {
		return "", err
	}
	return string(body), nil
}

// failOn makes all calls of one action fail.
func (a account) failOn(action string, status int, code, message string) {
	a.emulator.SetFault(func(call elbemu.Call) elbemu.Fault {
		if call.Action == action {
			return elbemu.Refuse(status, code, message)
		}
		return elbemu.Fault{}
	})
}

func (a account) calls(action string) int { return a.emulator.CallCounts()[action].Total }

var tags = elb.Tags{
	Ledger: "ledger", Namespace: "games", Pod: "game-0", PodUID: "uid-0",
	Lease: "0123456789abcdef-30000", Epoch: "e1", Generation: 3,
}

func groupSpec(n int) elb.TargetGroupSpec {
	t := tags
	t.Generation = n
	return elb.TargetGroupSpec{
		Name: elb.TargetGroupName(t.Ledger, t.Fence()), Protocol: api.UDP, Port: 7777, VPC: "vpc-local",
		HealthCheck: elb.HealthCheck{
			Protocol: "HTTP", Port: 9902, Path: api.HealthPath,
			IntervalSeconds: 10, HealthyThreshold: 2, UnhealthyThreshold: 2,
		},
		Tags: t,
	}
}

func listenerSpec(lb, group string, port int) elb.ListenerSpec {
	return elb.ListenerSpec{LoadBalancerARN: lb, Port: port, Protocol: api.UDP, TargetGroupARN: group, Tags: tags}
}

func (a account) group(n int) string {
	a.t.Helper()
	return must[string](a.t)(a.CreateTargetGroup(a.t.Context(), groupSpec(n)))
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// answers is a transport that counts calls and returns the same answer to each.
type answers struct {
	status int
	body   string
	count  int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.count++
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Content-Type": {"text/xml"}},
		Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, context.Cause(r.Context())
}

func result(action, inner string) string {
	return fmt.Sprintf(`<%[1]sResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>`, action, inner)
}

// closing loses the answer to the next call, as net/http does when it closes the
// connection.
type closing struct {
	http.RoundTripper
	next  bool
	calls int
}

func (c *closing) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls++
	answer, err := c.RoundTripper.RoundTrip(r)
	if c.next && err == nil {
		c.next = false
		answer.Body = io.NopCloser(lostBody{})
	}
	return answer, err
}

type lostBody struct{}

func (lostBody) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
}

// A caller must check the outcome of a call that may have changed something.
func TestOnlyDescribeCallsAreRepeatedAfterALostAnswer(t *testing.T) {
	lost := &closing{RoundTripper: newAccount(t, elbemu.Config{}).emulator, next: true}
	client := clientOver(lost)
	if _, err := client.TargetGroups(t.Context()); err != nil || lost.calls != 2 {
		t.Errorf("a listing takes %d calls, %v", lost.calls, err)
	}
	lost.next, lost.calls = true, 0
	spec := elb.TargetGroupSpec{Name: "g", Protocol: "UDP", Port: 7777, VPC: "vpc-local", HealthCheck: elb.HealthCheck{Protocol: "TCP"}}
	if _, err := client.CreateTargetGroup(t.Context(), spec); !errors.Is(err, net.ErrClosed) || lost.calls != 1 {
		t.Errorf("creating takes %d calls, %v", lost.calls, err)
	}
}

func TestEveryRequestIsObserved(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	lost := &closing{RoundTripper: a.emulator}
	var seen []string
	var log bytes.Buffer
	c := loggingClientOver(lost, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))).Observed(func(call elb.Call) {
		if call.Took < 0 || call.Took > time.Minute {
			t.Errorf("%s took %v", call.Action, call.Took)
		}
		seen = append(seen, call.Action+" "+call.Code)
	})
	if _, err := c.CreateTargetGroup(t.Context(), groupSpec(0)); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteListener(t.Context(), "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/net/games/0123456789abcdef/0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	if id := regexp.MustCompile(`"action":"DeleteListener".*"awsRequestID":"([^"]+)"`).FindStringSubmatch(log.String()); len(id) == 0 || strings.Count(log.String(), "awsRequestID") != 1 {
		t.Errorf("the log has no request ID of the call that failed, or one of another: %s", log.String())
	}
	lost.next = true
	if _, err := c.Limits(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"CreateTargetGroup ", "DeleteListener ListenerNotFound", "DescribeAccountLimits no answer", "DescribeAccountLimits "}; !slices.Equal(seen, want) {
		t.Errorf("observed %q, want %q", seen, want)
	}
}
