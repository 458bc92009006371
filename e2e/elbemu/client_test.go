package elbemu_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
)

// newEmulator returns an emulator that is closed at the end of the test.
func newEmulator(t testing.TB, cfg elbemu.Config) *elbemu.Emulator {
	t.Helper()
	e, err := elbemu.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error("closing emulator:", err)
		}
	})
	return e
}

// newClient returns a client that calls the emulator in memory and never retries, so the
// test sees every answer.
func newClient(e *elbemu.Emulator) *elb.Client {
	return elb.New(elb.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String("http://elbemu.invalid"),
		Credentials:  staticKey("AKIDTEST"),
		HTTPClient:   &http.Client{Transport: e},
		Retryer:      aws.NopRetryer{},
	})
}

func staticKey(id string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: "secret"}, nil
	})
}

// codeOf returns the API's error code, or an empty string for success.
func codeOf(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("no answer of the API: %v", err)
	}
	return api.ErrorCode()
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if got := codeOf(t, err); got != code {
		t.Fatalf("answer: %v, want code %q", err, code)
	}
}

// world is an emulator and a client of it.
type world struct {
	*elb.Client
	t testing.TB
	e *elbemu.Emulator
}

func newWorld(t testing.TB, cfg elbemu.Config) world {
	t.Helper()
	e := newEmulator(t, cfg)
	return world{newClient(e), t, e}
}

func (w world) loadBalancer(name string) string {
	w.t.Helper()
	out, err := w.CreateLoadBalancer(w.t.Context(), &elb.CreateLoadBalancerInput{
		Name: &name, Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-local-a", "subnet-local-b"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.LoadBalancers[0].LoadBalancerArn
}

func groupInput(name string, protocol types.ProtocolEnum, port int32) *elb.CreateTargetGroupInput {
	return &elb.CreateTargetGroupInput{
		Name: &name, Protocol: protocol, Port: &port, VpcId: aws.String("vpc-local"), TargetType: types.TargetTypeEnumIp,
	}
}

func (w world) targetGroup(name string, protocol types.ProtocolEnum, port int32) string {
	w.t.Helper()
	out, err := w.CreateTargetGroup(w.t.Context(), groupInput(name, protocol, port))
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.TargetGroups[0].TargetGroupArn
}

func forwardTo(group string) []types.Action {
	return []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &group}}
}

func listenerInput(lb, group string, protocol types.ProtocolEnum, port int32) *elb.CreateListenerInput {
	return &elb.CreateListenerInput{LoadBalancerArn: &lb, Protocol: protocol, Port: &port, DefaultActions: forwardTo(group)}
}

func (w world) listener(lb, group string, protocol types.ProtocolEnum, port int32) string {
	w.t.Helper()
	out, err := w.CreateListener(w.t.Context(), listenerInput(lb, group, protocol, port))
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.Listeners[0].ListenerArn
}

func targets(ip string, ports ...int32) []types.TargetDescription {
	var list []types.TargetDescription
	for _, port := range ports {
		list = append(list, types.TargetDescription{Id: &ip, Port: &port})
	}
	return list
}

func (w world) register(group, ip string, ports ...int32) {
	w.t.Helper()
	if _, err := w.RegisterTargets(w.t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: targets(ip, ports...)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w world) deregister(group, ip string, ports ...int32) {
	w.t.Helper()
	if _, err := w.DeregisterTargets(w.t.Context(), &elb.DeregisterTargetsInput{TargetGroupArn: &group, Targets: targets(ip, ports...)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w world) deleteListener(arn string) {
	w.t.Helper()
	if _, err := w.DeleteListener(w.t.Context(), &elb.DeleteListenerInput{ListenerArn: &arn}); err != nil {
		w.t.Fatal(err)
	}
}

// health returns "state reason" of each target, in order.
func (w world) health(group string, asked ...types.TargetDescription) []string {
	w.t.Helper()
	out, err := w.DescribeTargetHealth(w.t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: asked})
	if err != nil {
		w.t.Fatal(err)
	}
	var states []string
	for _, d := range out.TargetHealthDescriptions {
		state := string(d.TargetHealth.State)
		if d.TargetHealth.Reason != "" {
			state += " " + string(d.TargetHealth.Reason)
		}
		states = append(states, state)
	}
	return states
}
