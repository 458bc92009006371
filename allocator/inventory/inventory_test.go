package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// still is a view that nobody changes.
type still[T any] struct {
	ledger.Table[T]
	all map[string]T
}

func (s still[T]) CachedAll() (all []ledger.Record[T]) {
	for name, value := range s.all {
		all = append(all, ledger.Record[T]{Name: name, Value: value})
	}
	return all
}

func (s still[T]) Cached(name string) (ledger.Record[T], bool) {
	value, ok := s.all[name]
	return ledger.Record[T]{Name: name, Value: value}, ok
}

// account is an emulated AWS account with two VPCs.
type account struct {
	emulator *elbemu.Emulator
	config   aws.Config
	ports    map[string]ledger.Port
	cordon   map[string]ledger.Cordon
}

func newAccount(t *testing.T) *account {
	t.Helper()
	emulator, err := elbemu.New(elbemu.Config{
		Region: "us-east-1",
		VPCs:   []elbemu.VPC{{ID: "vpc-a", CIDR: netip.MustParsePrefix("127.30.0.0/16")}, {ID: "vpc-b", CIDR: netip.MustParsePrefix("127.31.0.0/16")}},
		Subnets: []elbemu.Subnet{
			{ID: "subnet-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "us-east-1a"},
			{ID: "subnet-b", CIDR: netip.MustParsePrefix("127.31.0.0/17"), Zone: "us-east-1a"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	return &account{
		emulator: emulator,
		config: aws.Config{
			Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("PERSON", "secret", ""),
			HTTPClient: &http.Client{Transport: emulator},
		},
		ports: make(map[string]ledger.Port), cordon: make(map[string]ledger.Cordon),
	}
}

// loadBalancer makes one with cross-zone on, in the VPC of a subnet.
func (a *account) loadBalancer(t *testing.T, name, subnet string, tags ...string) string {
	t.Helper()
	client := elbv2.NewFromConfig(a.config)
	in := &elbv2.CreateLoadBalancerInput{Name: &name, Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnet}}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, "=")
		in.Tags = append(in.Tags, types.Tag{Key: &key, Value: &value})
	}
	made, err := client.CreateLoadBalancer(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	arn := *made.LoadBalancers[0].LoadBalancerArn
	a.crossZone(t, arn)
	return arn
}

func (a *account) crossZone(t *testing.T, arn string) {
	t.Helper()
	if _, err := elbv2.NewFromConfig(a.config).ModifyLoadBalancerAttributes(t.Context(), &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &arn,
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")}},
	}); err != nil {
		t.Fatal(err)
	}
}

func (a *account) inventory(pools ...poolfile.Pool) *inventory.Inventory {
	return inventory.New(inventory.Config{
		Ledger: "l", AWS: elb.New(a.config, nil), Ports: still[ledger.Port]{all: a.ports}, Cordons: still[ledger.Cordon]{all: a.cordon},
		Log: slog.New(slog.DiscardHandler),
	}, pools)
}

func read(t *testing.T, i *inventory.Inventory) {
	t.Helper()
	if err := i.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := i.List(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func poolOf(name string, from, to int, arns ...string) poolfile.Pool {
	return poolfile.Pool{Name: name, LoadBalancers: arns, Ranges: []pool.Range{{From: from, To: to}}}
}

// shows holds a pool to the load balancers that it uses, and to a reason for each
// that it leaves out.
func shows(t *testing.T, i *inventory.Inventory, name string, use []string, leftOut map[string]string) {
	t.Helper()
	p, known := i.Pool(name)
	var got []string
	for _, lb := range p.LoadBalancers {
		got = append(got, lb.ARN)
	}
	if !known || fmt.Sprint(got) != fmt.Sprint(use) || len(p.LeftOut) != len(leftOut) {
		t.Errorf("pool %s uses %v and leaves out %q", name, got, p.LeftOut)
	}
	for arn, reason := range leftOut {
		if all := strings.Join(p.LeftOut, "\n"); !strings.Contains(all, arn+" (") || !strings.Contains(all, reason) {
			t.Errorf("pool %s leaves out %q, want %s because %q", name, p.LeftOut, arn, reason)
		}
	}
}

func TestNothingIsUsedBeforeItIsListed(t *testing.T) {
	a := newAccount(t)
	lb := a.loadBalancer(t, "games", "subnet-a")
	i := a.inventory(poolOf("p", 1, 9, lb))
	shows(t, i, "p", nil, map[string]string{lb: "not read from AWS yet"})
	if err := i.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, _ := i.Pool("p"); !p.Unread || len(p.LoadBalancers) > 0 {
		t.Errorf("described and not listed it is %+v", p)
	}
	read(t, i)
	shows(t, i, "p", []string{lb}, nil)
	if p, _ := i.Pool("p"); p.Unread {
		t.Error("it is unread after it was read")
	}
	if _, known := i.Pool("q"); known {
		t.Error("there is a pool that nobody named")
	}
}

func TestOneVPCForEachPool(t *testing.T) {
	a := newAccount(t)
	here, there := a.loadBalancer(t, "here", "subnet-a"), a.loadBalancer(t, "there", "subnet-b")
	first, named := poolOf("first", 1, 9, here, there), poolOf("named", 11, 19, here, there)
	named.VPC = "vpc-b"
	i := a.inventory(first, named)
	read(t, i)
	shows(t, i, "first", []string{here}, map[string]string{there: "it is in VPC vpc-b and the pool in vpc-a"})
	shows(t, i, "named", []string{there}, map[string]string{here: "it is in VPC vpc-a and the pool in vpc-b"})
}

func TestTagsSelect(t *testing.T) {
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
	// A port that an earlier pool hands out is not handed out twice.
	shows(t, i, "wide", nil, map[string]string{both: "its tags put it into pool tagged too", one: "its tags put it into pool named too"})
	for port, want := range map[int]bool{1: true, 9: true, 10: false} {
		if i.Offers(both, port) != want {
			t.Errorf("port %d is offered: %v", port, !want)
		}
	}
}

func TestExchangedPools(t *testing.T) {
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
	if _, looked := listed[old]; err != nil || !looked {
		t.Errorf("a load balancer of which a port is held is not looked after: %v, %v", listed, err)
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

func TestInspectSeesAGoneLoadBalancer(t *testing.T) {
	a := newAccount(t)
	lb := a.loadBalancer(t, "games", "subnet-a")
	i := a.inventory(poolOf("p", 1, 9, lb))
	read(t, i)
	if _, err := elbv2.NewFromConfig(a.config).DeleteLoadBalancer(t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &lb}); err != nil {
		t.Fatal(err)
	}
	var pools claim.Pools = i
	sight, err := pools.Inspect(context.Background(), lb)
	if err != nil || !sight.Gone {
		t.Errorf("it sees %+v, %v", sight, err)
	}
	shows(t, i, "p", nil, map[string]string{lb: "does not exist"})
}

// TestAListingEndsWhenItIsThrottled, because every further call would take from
// those who bind; what was listed before stays known.
func TestAListingEndsWhenItIsThrottled(t *testing.T) {
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

// TestTheLedgerKnowsItsListeners lists a port while it is bound, and not again.
func TestTheLedgerKnowsItsListeners(t *testing.T) {
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
		"bound":                   {bound, bound, false},
		"free":                    {bound, ledger.Port{State: ledger.Free, Epoch: "e", Generation: 4}, false},
		"another's":               {bound, ledger.Port{State: ledger.Bound, Epoch: "e", Generation: 5, TargetGroupARN: "next"}, false},
		"restored from a backup":  {bound, ledger.Port{State: ledger.Free, Epoch: "e", Generation: 3}, true},
		"deleted and made again":  {bound, ledger.Port{State: ledger.Free, Epoch: "f", Generation: 4}, true},
		"somebody else's, listed": {ledger.Port{State: ledger.Free, Epoch: "e", Generation: 4}, bound, true},
	} {
		a.ports[name] = c.listed
		read(t, i)
		a.ports[name] = c.now
		if p, _ := i.Pool("p"); p.LoadBalancers[0].Occupied[5] != c.seen {
			t.Errorf("%s: port 5 counts as seen: %v", what, !c.seen)
		}
		delete(a.ports, name)
		if p, _ := i.Pool("p"); !p.LoadBalancers[0].Occupied[5] {
			t.Errorf("%s: port 5 does not count as seen after its record was lost", what)
		}
	}
}

func TestAPoolHasTheAddressesOfItsLoadBalancers(t *testing.T) {
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
