package inventory_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// fleet creates load balancers.
func (a *account) fleet(t *testing.T, n int) []string { return a.fleetIn(t, n, "subnet-a") }

func (a *account) fleetIn(t *testing.T, n int, subnet string) (arns []string) {
	t.Helper()
	for m := range n {
		arns = append(arns, a.loadBalancer(t, fmt.Sprint(subnet, "-", m), subnet))
	}
	return arns
}

// used is how many load balancers the pool p uses.
func used(i *inventory.Inventory) int {
	p, _ := i.Pool("p")
	return len(p.LoadBalancers)
}

// made counts the calls of an action while do runs.
func (a *account) made(action string, do func()) int {
	before := a.emulator.CallCounts()[action].Total
	do()
	return a.emulator.CallCounts()[action].Total - before
}

// TestDescribeKeepsWhatItHasRead loses the account after 59 of 100 load balancers, and
// reads only the others after that.
func TestDescribeKeepsWhatItHasRead(t *testing.T) {
	for what, fault := range map[string]elbemu.Fault{"throttled": elbemu.Throttle(), "failed": elbemu.Refuse(500, "InternalFailure", "broken")} {
		a := newAccount(t)
		i := a.inventory(poolOf("p", 1, 9, a.fleet(t, 100)...))
		attributes := 0
		a.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
			if c.Action == "DescribeLoadBalancerAttributes" {
				attributes++
			}
			if attributes >= 60 {
				return fault
			}
			return elbemu.Fault{}
		})
		if err := i.Describe(t.Context()); err == nil {
			t.Errorf("%s: no error", what)
		}
		if got := used(i); got != 59 {
			t.Errorf("%s: %d load balancers are used of the 59 that were read", what, got)
		}
		if p, _ := i.Pool("p"); !p.Unread {
			t.Errorf("%s: the pool counts as read", what)
		}
		a.emulator.SetFault(nil)
		listed := 0
		read := a.made("DescribeLoadBalancerAttributes", func() {
			listed = a.made("DescribeListeners", func() {
				if err := i.Describe(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		})
		// Besides the 41 that are missing, a twelfth of those known is read again.
		if got := used(i); got != 100 || listed != 41 || read > 41+9 {
			t.Errorf("%s: then %d are used, after %d listings and %d reads of attributes", what, got, listed, read)
		}
	}
}

func TestDescribeStopsWhenThrottled(t *testing.T) {
	a := newAccount(t)
	i := a.inventory(poolOf("p", 1, 9, a.fleet(t, 30)...))
	calls := 0
	a.emulator.SetFault(func(elbemu.Call) elbemu.Fault {
		calls++
		return elbemu.Throttle()
	})
	if err := i.Describe(t.Context()); !errors.Is(err, elb.ErrThrottled) || calls > 3 {
		t.Errorf("after %d throttled calls it says %v", calls, err)
	}
}

// TestLoadBalancerIsUsedBeforeTheNextIsRead: a pod must not wait for a hundred of them.
func TestLoadBalancerIsUsedBeforeTheNextIsRead(t *testing.T) {
	a := newAccount(t)
	i := a.inventory(poolOf("p", 1, 9, a.fleet(t, 45)...))
	listed := 0
	a.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeListeners" {
			if got := used(i); got != listed {
				t.Errorf("%d load balancers are used after %d are read", got, listed)
			}
			listed++
		}
		return elbemu.Fault{}
	})
	if err := i.Describe(t.Context()); err != nil || used(i) != 45 || listed != 45 {
		t.Errorf("%d are used after %d listings, %v", used(i), listed, err)
	}
}

func TestFirstReadsAreCounted(t *testing.T) {
	a := newAccount(t)
	i := a.inventory(poolOf("p", 1, 9, a.fleet(t, 45)...))
	before := len(a.emulator.Calls())
	if err := i.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(a.emulator.Calls()) - before; got != inventory.FirstReads(45) {
		t.Errorf("45 load balancers took %d calls, and FirstReads says %d", got, inventory.FirstReads(45))
	}
}

// TestCrossZoneIsReadRarely: of each load balancer once in twelve passes, and in every pass
// while it is off, because somebody may have turned it on.
func TestCrossZoneIsReadRarely(t *testing.T) {
	const passes = 12
	a := newAccount(t)
	arns := a.fleet(t, 2*passes)
	i := a.inventory(poolOf("p", 1, 9, arns...))
	read(t, i)
	pass := func() int {
		return a.made("DescribeLoadBalancerAttributes", func() { read(t, i) })
	}
	for n := range passes {
		if got := pass(); got != 2 {
			t.Errorf("pass %d reads the attributes of %d load balancers, want 2 of %d", n, got, len(arns))
		}
	}
	if _, err := elbv2.NewFromConfig(a.config).ModifyLoadBalancerAttributes(t.Context(), &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &arns[7],
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("false")}},
	}); err != nil {
		t.Fatal(err)
	}
	for range passes {
		pass()
	}
	shows(t, i, "p", slices.Delete(slices.Clone(arns), 7, 8), map[string]string{arns[7]: "cross-zone load balancing is off"})
	if got := pass(); got < 2 || got > 3 {
		t.Errorf("with one that is off, a pass reads the attributes of %d", got)
	}
	a.crossZone(t, arns[7])
	pass()
	shows(t, i, "p", arns, nil)
}

// TestVPCOfAPoolIsNotGuessed: the pool is in the VPC of its first load balancer. Before that
// one is described, no other can be used.
func TestVPCOfAPoolIsNotGuessed(t *testing.T) {
	a := newAccount(t)
	here, there := a.loadBalancer(t, "here", "subnet-a"), a.fleetIn(t, 25, "subnet-b")
	i := a.inventory(poolOf("p", 1, 9, append([]string{here}, there...)...))
	described := 0
	a.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeLoadBalancers" {
			if described++; described == 1 {
				return elbemu.Refuse(500, "InternalFailure", "broken")
			}
		}
		return elbemu.Fault{}
	})
	if err := i.Describe(t.Context()); err == nil || used(i) != 0 {
		t.Errorf("%d are used that may be in another VPC, %v", used(i), err)
	}
	read(t, i)
	if p, _ := i.Pool("p"); len(p.LoadBalancers) != 1 || p.LoadBalancers[0].ARN != here {
		t.Errorf("the pool has %+v", p.LoadBalancers)
	}
}

// TestParallelReadsAreTheSame lists and describes several load balancers at a time.
func TestParallelReadsAreTheSame(t *testing.T) {
	a := newAccount(t)
	arns := a.fleet(t, 45)
	i := inventory.New(inventory.Config{
		Ledger: "l", AWS: elb.New(a.config, nil), Ports: still[ledger.Port]{all: a.ports}, Cordons: still[ledger.Cordon]{all: a.cordon},
		Log: slog.New(slog.DiscardHandler), Parallel: 4,
	}, []poolfile.Pool{poolOf("p", 1, 9, arns...)})
	read(t, i)
	shows(t, i, "p", arns, nil)
	var calls atomic.Int32
	a.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if strings.HasPrefix(c.Action, "DescribeListeners") && calls.Add(1) > 10 {
			return elbemu.Throttle()
		}
		return elbemu.Fault{}
	})
	listed, err := i.List(t.Context())
	if !errors.Is(err, elb.ErrThrottled) || len(listed) != 10 || calls.Load() > 14 {
		t.Errorf("after %d calls it listed %d and says %v", calls.Load(), len(listed), err)
	}
}
