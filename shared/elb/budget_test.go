package elb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// purse is a budget that counts, and refuses after so many requests.
type purse struct{ left, reserved, throttled int }

var errEmpty = errors.New("nothing is left")

func (p *purse) ReserveDescribe(context.Context) error {
	if p.reserved == p.left {
		return errEmpty
	}
	p.reserved++
	return nil
}

func (p *purse) DescribeThrottled(context.Context) error {
	p.throttled++
	return nil
}

// TestEachDescribeRequestIsReserved when it is sent: as many as AWS sees, whatever a call
// needs.
func TestEachDescribeRequestIsReserved(t *testing.T) {
	a := newAccount(t, elbemu.Config{Quotas: elbemu.Quotas{TargetGroups: 1000}})
	var arns []string
	for n := range 45 {
		arns = append(arns, a.loadBalancer(fmt.Sprintf("games-%d", n)))
	}
	for n := range 401 {
		a.group(n)
	}
	lost := &closing{RoundTripper: a.emulator}
	for what, c := range map[string]struct {
		call func(*elb.Client) error
		want int
	}{
		"batches of ARNs": {func(c *elb.Client) error { _, err := c.LoadBalancers(t.Context(), arns...); return err }, 3},
		"one that does not exist": {func(c *elb.Client) error {
			_, err := c.LoadBalancers(t.Context(), arns[0], arns[1], arns[0]+"0", arns[2])
			return err
		}, 5},
		"tags":  {func(c *elb.Client) error { _, err := c.Tags(t.Context(), arns...); return err }, 3},
		"pages": {func(c *elb.Client) error { _, err := c.TargetGroups(t.Context()); return err }, 2},
		"a lost answer": {func(c *elb.Client) error {
			lost.next = true
			_, err := c.Limits(t.Context())
			return err
		}, 2},
		"a call that changes something": {func(c *elb.Client) error { _, err := c.CreateTargetGroup(t.Context(), groupSpec(0)); return err }, 0},
	} {
		lost.calls = 0
		budget := &purse{left: 1000}
		if err := c.call(clientOver(lost).WithBudget(budget)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if budget.reserved != c.want || c.want > 0 && lost.calls != c.want {
			t.Errorf("%s: %d requests were reserved and %d sent, want %d", what, budget.reserved, lost.calls, c.want)
		}
	}
}

func TestDescribeRequestIsNotSentWithoutItsReservation(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	var arns []string
	for n := range 45 {
		arns = append(arns, a.loadBalancer(fmt.Sprintf("games-%d", n)))
	}
	for left := range 3 {
		before := a.calls("DescribeLoadBalancers")
		found, err := a.WithBudget(&purse{left: left}).LoadBalancers(t.Context(), arns...)
		if sent := a.calls("DescribeLoadBalancers") - before; !errors.Is(err, errEmpty) || sent != left {
			t.Errorf("got %v after %d requests, and %d were reserved", err, sent, left)
		}
		if len(found) != 20*left {
			t.Errorf("%d load balancers were kept of the %d that were read", len(found), 20*left)
		}
	}
}

func TestThrottledDescribesAreReportedToTheBudget(t *testing.T) {
	a := newAccount(t, elbemu.Config{})
	a.emulator.SetFault(func(elbemu.Call) elbemu.Fault { return elbemu.Throttle() })
	budget := &purse{left: 9}
	client := a.WithBudget(budget)
	if _, err := client.TargetGroups(t.Context()); !errors.Is(err, elb.ErrThrottled) || budget.throttled != 1 {
		t.Errorf("got %v, reported %d", err, budget.throttled)
	}
	if err := client.DeleteListener(t.Context(), "arn"); !errors.Is(err, elb.ErrThrottled) || budget.throttled != 1 {
		t.Errorf("a deletion: got %v, reported %d", err, budget.throttled)
	}
}
