package elbemu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
)

// grade says how a fact is known.
type grade string

const (
	documented grade = "D" // AWS documentation or the published API model
	observed   grade = "O" // seen on AWS by someone in public
	inSource   grade = "S" // read in the source of a public project
	ran        grade = "R" // run with the Go SDK
	inferred   grade = "I" // follows from others
	unverified grade = "U" // a guess; a switch of the emulator where it matters
)

// row is one fact that calls can show.
type row struct {
	fact  string
	grade grade
	// only says why the row runs against the emulator alone; empty when it runs
	// against AWS too.
	only string
	cfg  elbemu.Config         // of the emulator, for rows with only
	call func(s *stage) string // makes the calls, returns what they answered
	want string                // what they must answer
}

// stage is where a row plays: an account with two load balancers.
type stage struct {
	*elb.Client
	t       testing.TB
	prefix  string // of all names
	vpc     string
	subnets []string
	ip      string // inside one of the subnets
	lb, lb2 string // ARNs
	made    int

	// The emulator's, nil on AWS; rows that use them are emulator-only.
	clock *clock
	e     *elbemu.Emulator
	up    *bool // what health checks find
}

// TestConformance runs every row against the emulator, or, with
// PORTLEASE_CONFORMANCE=aws, those that can against a real account.
func TestConformance(t *testing.T) {
	if os.Getenv("PORTLEASE_CONFORMANCE") == "aws" {
		account := newAccount(t)
		for _, r := range rows() {
			if r.only == "" {
				t.Run(r.fact, func(t *testing.T) { account.play(t, r) })
			}
		}
		return
	}
	for _, r := range rows() {
		t.Run(r.fact, func(t *testing.T) { emulated(t, r.cfg).play(t, r) })
	}
}

func (s *stage) play(t *testing.T, r row) {
	here := *s
	here.t = t
	if got := r.call(&here); got != r.want {
		t.Errorf("grade %s: answered %q, want %q", r.grade, got, r.want)
	}
	s.made = here.made
}

// emulated is a fresh emulator with a clock that the row moves.
func emulated(t *testing.T, cfg elbemu.Config) *stage {
	up := true
	clock := newClock()
	cfg.Now = clock.Now
	cfg.Healthy = func(string, int) bool { return up }
	s := &stage{
		t: t, prefix: "c", vpc: "vpc-local", subnets: []string{"subnet-local-a"}, ip: "127.30.0.5",
		clock: clock, up: &up, e: newEmulator(t, cfg),
	}
	s.Client = clientOf(s.e)
	s.lb, s.lb2 = s.createLB("one"), s.createLB("two")
	clock.advance(time.Hour) // whatever the creation cost is paid back
	return s
}

// newAccount prepares a real account as the environment names it.
func newAccount(t *testing.T) *stage {
	get := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			t.Fatalf("%s is not set; see the README of e2e/elbemu", name)
		}
		return value
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 20 })
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		Client: elb.NewFromConfig(cfg), t: t, prefix: fmt.Sprintf("plc%d", time.Now().Unix()%1_000_000),
		vpc: get("PORTLEASE_CONFORMANCE_VPC"), subnets: strings.Split(get("PORTLEASE_CONFORMANCE_SUBNETS"), ","),
		ip: get("PORTLEASE_CONFORMANCE_IP"),
	}
	s.lb, s.lb2 = s.createLB("one"), s.createLB("two")
	waiter := elb.NewLoadBalancerAvailableWaiter(s.Client)
	if err := waiter.Wait(t.Context(), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{s.lb, s.lb2}}, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) createLB(name string) string {
	s.t.Helper()
	out, err := s.CreateLoadBalancer(s.t.Context(), &elb.CreateLoadBalancerInput{
		Name: new(s.prefix + "-" + name), Type: types.LoadBalancerTypeEnumNetwork, Scheme: types.LoadBalancerSchemeEnumInternal, Subnets: s.subnets,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	arn := *out.LoadBalancers[0].LoadBalancerArn
	s.removeLater("load balancer", func(ctx context.Context) error {
		_, err := s.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: &arn})
		return err
	})
	return arn
}

// removeLater leaves nothing behind on AWS: it repeats a removal that meets
// ResourceInUse, and says loudly what it could not remove.
func (s *stage) removeLater(what string, remove func(context.Context) error) {
	if s.e != nil {
		return // the emulator goes with the test
	}
	t := s.t
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			err := remove(ctx)
			var api smithy.APIError
			gone := errors.As(err, &api) && strings.HasSuffix(api.ErrorCode(), "NotFound")
			if err == nil || gone {
				return
			}
			select {
			case <-ctx.Done():
				t.Errorf("left behind on AWS: %s: %v", what, err)
				return
			case <-tick.C:
			}
		}
	})
}

func (s *stage) name() *string {
	s.made++
	return new(fmt.Sprintf("%s-%d", s.prefix, s.made))
}

func (s *stage) groupInput(protocol types.ProtocolEnum) *elb.CreateTargetGroupInput {
	return &elb.CreateTargetGroupInput{
		Name: s.name(), Protocol: protocol, Port: new(int32(7777)), VpcId: &s.vpc, TargetType: types.TargetTypeEnumIp,
	}
}

// create is a CreateTargetGroup whose group goes with the test.
func (s *stage) create(in *elb.CreateTargetGroupInput) (*types.TargetGroup, error) {
	out, err := s.CreateTargetGroup(s.t.Context(), in)
	if err != nil {
		return nil, err
	}
	arn := *out.TargetGroups[0].TargetGroupArn
	s.removeLater("target group", func(ctx context.Context) error {
		_, err := s.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: &arn})
		return err
	})
	return &out.TargetGroups[0], nil
}

// group is the ARN of a new target group.
func (s *stage) group(protocol types.ProtocolEnum) string {
	s.t.Helper()
	g, err := s.create(s.groupInput(protocol))
	if err != nil {
		s.t.Fatal(err)
	}
	return *g.TargetGroupArn
}

// listen is a CreateListener whose listener goes with the test.
func (s *stage) listen(in *elb.CreateListenerInput) (string, error) {
	out, err := s.CreateListener(s.t.Context(), in)
	if err != nil {
		return "", err
	}
	arn := *out.Listeners[0].ListenerArn
	s.removeLater("listener", func(ctx context.Context) error {
		_, err := s.DeleteListener(ctx, &elb.DeleteListenerInput{ListenerArn: &arn})
		return err
	})
	return arn, nil
}

// listener is the ARN of a new listener that forwards to a group.
func (s *stage) listener(lb, group string, protocol types.ProtocolEnum, port int32) string {
	s.t.Helper()
	arn, err := s.listen(listenerInput(lb, group, protocol, port))
	if err != nil {
		s.t.Fatal(err)
	}
	return arn
}

func (s *stage) register(group string, list ...types.TargetDescription) error {
	_, err := s.RegisterTargets(s.t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: list})
	return err
}

func (s *stage) deregister(group string, list ...types.TargetDescription) error {
	_, err := s.DeregisterTargets(s.t.Context(), &elb.DeregisterTargetsInput{TargetGroupArn: &group, Targets: list})
	return err
}

func (s *stage) deleteGroup(arn string) error {
	_, err := s.DeleteTargetGroup(s.t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &arn})
	return err
}

func (s *stage) removeListener(arn string) error {
	_, err := s.DeleteListener(s.t.Context(), &elb.DeleteListenerInput{ListenerArn: &arn})
	return err
}

func (s *stage) target(port int32) types.TargetDescription {
	return types.TargetDescription{Id: &s.ip, Port: &port}
}

// states are "state reason description" of the targets.
func (s *stage) states(group string, asked ...types.TargetDescription) string {
	out, err := s.DescribeTargetHealth(s.t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: asked})
	if err != nil {
		return answer(err)
	}
	var all []string
	for _, d := range out.TargetHealthDescriptions {
		h := d.TargetHealth
		all = append(all, strings.TrimSpace(strings.Join([]string{string(h.State), string(h.Reason), aws.ToString(h.Description)}, " ")))
	}
	return strings.Join(all, "; ")
}

// answer is ok, or the error code; with the HTTP status if that is not 400,
// which it is for all errors of a client.
func answer(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &api):
		return "no answer: " + err.Error()
	case statusOf(err) != 400:
		return fmt.Sprintf("%s HTTP %d", api.ErrorCode(), statusOf(err))
	}
	return api.ErrorCode()
}

// answerSaying is answer, with a note when the message lacks the text.
func answerSaying(err error, text string) string {
	var api smithy.APIError
	if errors.As(err, &api) && !strings.Contains(api.ErrorMessage(), text) {
		return answer(err) + " with the message: " + api.ErrorMessage()
	}
	return answer(err)
}

// answers are the distinct answers to several calls, in order.
func answers(errs ...error) string {
	var all []string
	for _, err := range errs {
		if a := answer(err); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return strings.Join(all, ", ")
}

// hidden is a fact that no API call can show.
type hidden struct {
	fact   string
	grade  grade
	reason string // why not, and what shows it instead if anything does
}

func TestHiddenFactsAreListed(t *testing.T) {
	shown := rows()
	for _, h := range hiddenFacts {
		t.Logf("no call shows: %s (%s): %s", h.fact, h.grade, h.reason)
		if h.reason == "" {
			t.Errorf("%q has no reason", h.fact)
		}
		if slices.ContainsFunc(shown, func(r row) bool { return r.fact == h.fact }) {
			t.Errorf("%q is shown by a row", h.fact)
		}
	}
}

func TestRowsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		if seen[r.fact] || r.want == "" || r.fact == "" || r.grade == "" {
			t.Errorf("row %q is not distinct or not complete", r.fact)
		}
		seen[r.fact] = true
	}
}

// TestRowsCanFail plays every row against a service that refuses everything: a
// row that is content with that shows nothing.
func TestRowsCanFail(t *testing.T) {
	const refusal = `<ErrorResponse><Error><Type>Sender</Type><Code>Broken</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>`
	broken := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(refusal)), Request: r}, nil
	})
	for _, r := range rows() {
		s := emulated(t, r.cfg)
		s.Client = elb.New(s.Options(), func(o *elb.Options) { o.HTTPClient = &http.Client{Transport: broken} })
		s.t = &judge{TB: t}
		ended := make(chan string, 1)
		go func() {
			got := "failed"
			defer func() { ended <- got }()
			got = r.call(s)
		}()
		if got := <-ended; got == r.want {
			t.Errorf("row %q is content with a broken service: %q", r.fact, got)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// judge lets a row fail without failing the test.
type judge struct{ testing.TB }

func (*judge) Error(...any) {}
func (*judge) Fatal(...any) { runtime.Goexit() }

// TestReadmeHoldsTheFacts keeps the tables of the README in step with the rows;
// with PORTLEASE_WRITE_README=1 it writes them.
func TestReadmeHoldsTheFacts(t *testing.T) {
	const file, begin, end = "README.md", "<!-- facts begin -->\n", "<!-- facts end -->"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the facts", file)
	}
	tables := factTables()
	if old == tables {
		return
	}
	if os.Getenv("PORTLEASE_WRITE_README") == "" {
		t.Fatalf("%s differs from the rows; run the test with PORTLEASE_WRITE_README=1", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+tables+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func factTables() string {
	var out strings.Builder
	out.WriteString("\n### Shown by calls\n\n| fact | grade | answer | runs against |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	for _, r := range rows() {
		where := "both"
		if r.only != "" {
			where = "emulator only: " + r.only
		}
		fmt.Fprintf(&out, "| %s | %s | `%s` | %s |\n", cell.Replace(r.fact), r.grade, cell.Replace(r.want), where)
	}
	out.WriteString("\n### Shown by no call\n\n| fact | grade | why not, and what shows it instead |\n|---|---|---|\n")
	for _, h := range hiddenFacts {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", cell.Replace(h.fact), h.grade, cell.Replace(h.reason))
	}
	out.WriteString("\n")
	return out.String()
}
