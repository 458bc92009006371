package elb_test

import (
	"regexp"
	"testing"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

func TestTargetGroupNamesAreUnique(t *testing.T) {
	valid := regexp.MustCompile(`^pl-[a-z2-7]{29}$`)
	seen := make(map[string]string)
	for _, fields := range []struct {
		ledger string
		fence  api.Fence
	}{
		{"l", api.Fence{Lease: "a", Epoch: "bc", Generation: 1}},
		{"l", api.Fence{Lease: "ab", Epoch: "c", Generation: 1}},
		{"la", api.Fence{Lease: "b", Epoch: "c", Generation: 1}},
		{"l", api.Fence{Lease: "a", Epoch: "bc", Generation: 2}},
		{"l", api.Fence{Lease: "a", Epoch: "bc1", Generation: 1}},
		{"", api.Fence{}},
		{"l", api.Fence{Lease: "0123456789abcdef-30000", Epoch: "e", Generation: 1}},
		{"l", api.Fence{Lease: "0123456789abcdef-30001", Epoch: "e", Generation: 1}},
	} {
		name := elb.TargetGroupName(fields.ledger, fields.fence)
		if !valid.MatchString(name) || len(name) > 32 {
			t.Errorf("name %q is not valid", name)
		}
		if seen[name] != "" {
			t.Errorf("name %q is not unique", name)
		}
		seen[name] = name
	}
	// The name must never change: target groups outlive the program that named them.
	const known = "pl-mwc5vauwwn6iarpatpluriq6lkcjb"
	if got := elb.TargetGroupName("ledger", api.Fence{Lease: "0123456789abcdef-30000", Epoch: "e1", Generation: 3}); got != known {
		t.Errorf("name is %q, want %q", got, known)
	}
}

func TestLoadBalancerIDNeedsANetworkLoadBalancer(t *testing.T) {
	const good = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/games-1/0123456789abcdef"
	for _, arn := range []string{good, "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:loadbalancer/net/games-1/0123456789abcdef"} {
		if id, err := elb.LoadBalancerID(arn); err != nil || id != "0123456789abcdef" {
			t.Errorf("%s gave %q, %v", arn, id, err)
		}
	}
	for _, bad := range []string{
		"", "games-1", good + "/0123456789abcdef", good[:len(good)-1], good + "0",
		"arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/games-1/0123456789abcdef",
		"arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/net/games-1/0123456789abcdef",
		"arn:aws:s3:eu-west-1:123456789012:loadbalancer/net/games-1/0123456789abcdef",
		"arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/games-1/0123456789ABCDEF",
	} {
		if id, err := elb.LoadBalancerID(bad); err == nil {
			t.Errorf("%q gave %q", bad, id)
		}
	}
}
