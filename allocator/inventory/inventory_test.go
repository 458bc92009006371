package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

func TestLoadBalancerIsUsedOnlyOnceListed(t *testing.T) {
	a := newAccount(t)
	lb := a.loadBalancer(t, "games", "subnet-a")
	i := a.inventory(poolOf("p", 1, 9, lb))
	shows(t, i, "p", nil, map[string]string{lb: "not read from AWS yet"})
	a.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeListeners" {
			return elbemu.ServerError()
		}
		return elbemu.Fault{}
	})
	if err := i.Describe(t.Context()); err == nil {
		t.Error("no error without its listeners")
	}
	if p, _ := i.Pool("p"); !p.Unread || len(p.LoadBalancers) > 0 {
		t.Errorf("described and not listed it is %+v", p)
	}
	a.emulator.SetFault(nil)
	read(t, i)
	shows(t, i, "p", []string{lb}, nil)
	if p, _ := i.Pool("p"); p.Unread {
		t.Error("the pool is unread after it was read")
	}
	if _, known := i.Pool("q"); known {
		t.Error("a pool exists that nobody named")
	}
}

func TestPoolIsInOneVPC(t *testing.T) {
	a := newAccount(t)
	here, there := a.loadBalancer(t, "here", "subnet-a"), a.loadBalancer(t, "there", "subnet-b")
	first, named := poolOf("first", 1, 9, here, there), poolOf("named", 11, 19, here, there)
	named.VPC = "vpc-b"
	i := a.inventory(first, named)
	read(t, i)
	shows(t, i, "first", []string{here}, map[string]string{there: "it is in VPC vpc-b and the pool in vpc-a"})
	shows(t, i, "named", []string{there}, map[string]string{here: "it is in VPC vpc-a and the pool in vpc-b"})
}

func TestTagsSelectLoadBalancers(t *testing.T) {
	a := newAccount(t)
	both, one, none := a.loadBalancer(t, "both", "subnet-a", "team=games", "use=portlease"), a.loadBalancer(t, "one", "subnet-a", "team=games"), a.loadBalancer(t, "none", "subnet-a")
	tagged, named := poolOf("tagged", 1, 9), poolOf("named", 5, 15, none, one)
	tagged.Tags = map[string]string{"team": "games", "use": "portlease"}
	wide := poolOf("wide", 9, 9)
	wide.Tags = map[string]string{"team": "games"}
	i := a.inventory(tagged, named, wide)
	read(t, i)
	shows(t, i, "tagged", []string{both}, nil)
	shows(t, i, "named", []string{none, one}, nil)
	// The first of two pools with the same port hands it out.
	shows(t, i, "wide", nil, map[string]string{both: "its tags put it into pool tagged too", one: "its tags put it into pool named too"})
	for port, want := range map[int]bool{1: true, 9: true, 10: false} {
		if i.Offers(both, port) != want {
			t.Errorf("port %d is offered: %v", port, !want)
		}
	}
}

func TestPoolsAreReplaced(t *testing.T) {
	a := newAccount(t)
	old, next := a.loadBalancer(t, "old", "subnet-a"), a.loadBalancer(t, "next", "subnet-a")
	i := a.inventory(poolOf("p", 1, 9, old))
	read(t, i)
	a.ports["held"] = ledger.Port{LoadBalancerARN: old, ListenerPort: 1, State: ledger.Bound}
	a.cordon[ledger.CordonName(ledger.LoadBalancerID(next))] = ledger.Cordon{LoadBalancerARN: next, Cordoned: "alice: soon"}
	i.SetPools([]poolfile.Pool{poolOf("p", 1, 9, next)})
	shows(t, i, "p", nil, map[string]string{next: "not read from AWS yet"})
	read(t, i)
	shows(t, i, "p", []string{next}, nil)
	if p, _ := i.Pool("p"); p.LoadBalancers[0].Cordoned != "cordoned by alice: soon" {
		t.Errorf("it is %+v", p.LoadBalancers[0])
	}
	listed, err := i.List(t.Context())
	if _, isListed := listed[old]; err != nil || !isListed {
		t.Errorf("a load balancer with a held port is not listed: %v, %v", listed, err)
	}
	states := i.States()
	if len(states) != 2 || states[0].ARN != next || states[0].Pool != "p" || states[1].ARN != old || states[1].Pool != "" {
		t.Errorf("the states are %+v", states)
	}
	delete(a.ports, "held")
	if listed, err := i.List(t.Context()); err != nil || len(listed) != 1 {
		t.Errorf("listed %v, %v", listed, err)
	}
}

func TestInspectFindsAGoneLoadBalancer(t *testing.T) {
	a := newAccount(t)
	lb := a.loadBalancer(t, "games", "subnet-a")
	i := a.inventory(poolOf("p", 1, 9, lb))
	read(t, i)
	if _, err := elbv2.NewFromConfig(a.config).DeleteLoadBalancer(t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &lb}); err != nil {
		t.Fatal(err)
	}
	var pools claim.Pools = i
	found, err := pools.Inspect(context.Background(), lb)
	if err != nil || !found.Gone {
		t.Errorf("it finds %+v, %v", found, err)
	}
	shows(t, i, "p", nil, map[string]string{lb: "does not exist"})
}

// TestListingStopsWhenThrottled: every further call would be missing to agents that
// bind. Earlier listings stay valid.
func TestListingStopsWhenThrottled(t *testing.T) {
	a := newAccount(t)
	var arns []string
	for n := range 4 {
		arns = append(arns, a.loadBalancer(t, fmt.Sprint("games", n), "subnet-a"))
	}
	i := a.inventory(poolOf("p", 1, 9, arns...))
	read(t, i)
	calls := 0
	a.emulator.SetFault(func(elbemu.Call) elbemu.Fault {
		calls++
		if calls < 2 {
			return elbemu.Fault{}
		}
		return elbemu.Throttle()
	})
	listed, err := i.List(t.Context())
	if !errors.Is(err, elb.ErrThrottled) || len(listed) != 1 || calls != 2 {
		t.Errorf("after %d calls it listed %d and says %v", calls, len(listed), err)
	}
	shows(t, i, "p", arns, nil)
}

// TestLedgerOverridesAListing lists a port while it is bound, and not again.
func TestLedgerOverridesAListing(t *testing.T) {
	a := newAccount(t)
	lb := a.loadBalancer(t, "games", "subnet-a")
	client := elb.New(a.config, nil)
	group, err := client.CreateTargetGroup(t.Context(), elb.TargetGroupSpec{Name: "g", Protocol: "TCP", Port: 7777, VPC: "vpc-a", HealthCheck: elb.HealthCheck{Protocol: "TCP"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateListener(t.Context(), elb.ListenerSpec{LoadBalancerARN: lb, Port: 5, Protocol: "TCP", TargetGroupARN: group}); err != nil {
		t.Fatal(err)
	}
	name := ledger.PortName(ledger.LoadBalancerID(lb), 5)
	bound := ledger.Port{LoadBalancerARN: lb, ListenerPort: 5, State: ledger.Bound, Epoch: "e", Generation: 4, TargetGroupARN: group}
	i := a.inventory(poolOf("p", 1, 9, lb))
	for what, c := range map[string]struct {
		listed, now ledger.Port
		seen        bool
	}{
		"bound":                     {bound, bound, false},
		"free":                      {bound, ledger.Port{State: ledger.Free, Epoch: "e", Generation: 4}, false},
		"another's":                 {bound, ledger.Port{State: ledger.Bound, Epoch: "e", Generation: 5, TargetGroupARN: "next"}, false},
		"restored from a backup":    {bound, ledger.Port{State: ledger.Free, Epoch: "e", Generation: 3}, true},
		"deleted and created again": {bound, ledger.Port{State: ledger.Free, Epoch: "f", Generation: 4}, true},
		"foreign, listed":           {ledger.Port{State: ledger.Free, Epoch: "e", Generation: 4}, bound, true},
	} {
		a.ports[name] = c.listed
		read(t, i)
		a.ports[name] = c.now
		occupied := func() bool {
			p, _ := i.Pool("p")
			return p.LoadBalancers[0].Occupied(ledger.Knows(i.Ports.Cached))[5]
		}
		if occupied() != c.seen {
			t.Errorf("%s: port 5 counts as occupied: %v", what, !c.seen)
		}
		delete(a.ports, name)
		if !occupied() {
			t.Errorf("%s: port 5 does not count as occupied after its record was lost", what)
		}
	}
}

func TestPoolHasTheAddressesOfItsLoadBalancers(t *testing.T) {
	a := newAccount(t)
	made, err := elbv2.NewFromConfig(a.config).CreateLoadBalancer(t.Context(), &elbv2.CreateLoadBalancerInput{
		Name: aws.String("fixed"), Type: types.LoadBalancerTypeEnumNetwork,
		SubnetMappings: []types.SubnetMapping{{SubnetId: aws.String("subnet-a"), AllocationId: aws.String("eipalloc-local-a")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	fixed, changing := *made.LoadBalancers[0].LoadBalancerArn, a.loadBalancer(t, "changing", "subnet-a")
	a.crossZone(t, fixed)
	i := a.inventory(poolOf("p", 1, 9, fixed, changing))
	read(t, i)
	shows(t, i, "p", []string{fixed, changing}, nil)
	p, _ := i.Pool("p")
	if got := p.LoadBalancers; !slices.Equal(got[0].Addresses, []string{"198.51.100.1"}) || got[1].Addresses != nil {
		t.Errorf("the addresses are %v and %v", got[0].Addresses, got[1].Addresses)
	}
}
