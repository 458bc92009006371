package elbemu_test

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// stage is the account that a row runs in: it has two load balancers.
type stage struct {
	*elb.Client
	t       testing.TB
	prefix  string // of all resource names
	vpc     string
	subnets []string
	ip      string // inside one of the subnets
	lb, lb2 string // ARNs
	made    int

	// Set for the emulator, nil on AWS; only emulator-only rows use them.
	clock *clock
	e     *elbemu.Emulator
	up    *bool // the result of health checks
}

// emulated returns a new emulator with a clock that the row advances.
func emulated(t *testing.T, cfg elbemu.Config) *stage {
	up := true
	clock := newClock()
	cfg.Now = clock.Now
	cfg.Healthy = func(string, int) bool { return up }
	s := &stage{
		t: t, prefix: "c", vpc: "vpc-local", subnets: []string{"subnet-local-a"}, ip: "127.30.0.5",
		clock: clock, up: &up, e: newEmulator(t, cfg),
	}
	s.Client = newClient(s.e)
	s.lb, s.lb2 = s.createLB("one"), s.createLB("two")
	clock.advance(time.Hour) // refills the tokens that the creation took
	return s
}

// newAccount prepares the real account that the environment names.
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

// removeLater removes a resource from AWS after the test. It retries on ResourceInUse and
// fails the test if the resource remains.
func (s *stage) removeLater(what string, remove func(context.Context) error) {
	if s.e != nil {
		return // the emulator ends with the test
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

// create calls CreateTargetGroup and removes the group after the test.
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

// group creates a target group and returns its ARN.
func (s *stage) group(protocol types.ProtocolEnum) string {
	s.t.Helper()
	g, err := s.create(s.groupInput(protocol))
	if err != nil {
		s.t.Fatal(err)
	}
	return *g.TargetGroupArn
}

// listen calls CreateListener and removes the listener after the test.
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

// listener creates a listener that forwards to a group and returns its ARN.
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

// states returns "state reason description" of the targets.
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
