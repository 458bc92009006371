package inventory_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// still is a table whose cache is a map.
type still[T any] struct {
	ledger.Table[T]
	all map[string]T
}

func (s still[T]) index() *ledger.Index[T] {
	x := ledger.NewIndex[T]()
	for name, value := range s.all {
		x.Put(ledger.Record[T]{Name: name, Value: value})
	}
	return x
}

func (s still[T]) CachedAll() []*ledger.Record[T] { return s.index().All() }

func (s still[T]) CachedBy(k ledger.Key) []*ledger.Record[T] { return s.index().By(k) }

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
		Quotas: elbemu.Quotas{LoadBalancers: 100},
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

// loadBalancer creates one with cross-zone load balancing, in the VPC of a subnet.
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

// shows expects a pool to use these load balancers, and to leave out those with a
// reason.
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
