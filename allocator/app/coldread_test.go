package app_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/app"
	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/paced"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/elb"
)

const (
	coldLoadBalancers = 100
	// coldReads is what one replica must ask AWS: the listener limit, the load balancers by
	// twenty, and the attributes and the listeners of each.
	coldReads = 1 + coldLoadBalancers/20 + 2*coldLoadBalancers
	// coldRest is what an audit reads besides listeners.
	coldRest = 5
	// awsTakes and leaseTakes are the times of one call.
	awsTakes, leaseTakes = 50 * time.Millisecond, 10 * time.Millisecond
	// maxOverBound is how much longer than the bucket's bound the reads may take.
	maxOverBound = 1.2
	// neverRead bounds the test in its own time.
	neverRead = 30 * time.Minute
)

// TestColdStartReadsLoadBalancersAtTheRateOfTheBucket starts replicas on an empty budget
// and an account with 100 load balancers. The leader must be able to use all of them as
// soon as the bucket allows, and so must the replicas that do not lead, after it.
func TestColdStartReadsLoadBalancersAtTheRateOfTheBucket(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { coldStart(t, replicas) })
		})
	}
}

func coldStart(t *testing.T, replicas int) {
	c := newColdAccount(t)
	perSecond := budget.Default().All.PerSecond
	before := c.describes()
	start := time.Now()
	var all []*coldReplica
	for n := range replicas {
		all = append(all, c.replica(t, n == 0))
	}
	usable := make([]time.Duration, replicas) // how long each took
	for ready := 0; ready < replicas; {
		if time.Since(start) > neverRead {
			t.Fatalf("after %v, %d of %d replicas can use all load balancers; %d describe calls, %d throttled",
				neverRead, ready, replicas, c.describes()-before, c.throttled())
		}
		time.Sleep(50 * time.Millisecond) // in the bubble
		for n, r := range all {
			if usable[n] == 0 && r.usable() == coldLoadBalancers {
				usable[n] = time.Since(start)
				ready++
			}
		}
	}
	made := c.describes() - before
	last := time.Duration(0)
	for _, took := range usable {
		last = max(last, took)
	}
	ratio := func(took time.Duration, reads int) float64 { return took.Seconds() / (float64(reads) / perSecond) }
	t.Logf("leader after %v, %.2f of the bound of its reads; last replica after %v, %.2f of the bound of all reads, %.2f of all calls; %d describe calls for %d reads, %d throttled",
		usable[0], ratio(usable[0], coldReads), last, ratio(last, replicas*coldReads), ratio(last, made), made, replicas*coldReads, c.throttled())
	if got := ratio(usable[0], coldReads); got > maxOverBound {
		t.Errorf("the leader took %.2f times the bound of its %d reads", got, coldReads)
	}
	if got := ratio(last, made); got > maxOverBound {
		t.Errorf("the last replica took %.2f times the bound of the %d calls that were made", got, made)
	}
	// The leader audits meanwhile.
	if most := replicas*coldReads + 2*(coldLoadBalancers+coldRest); made > most {
		t.Errorf("%d describe calls were made for %d reads, want at most %d", made, replicas*coldReads, most)
	}
	if c.throttled() > 0 {
		t.Errorf("AWS throttled %d calls", c.throttled())
	}
}

// TestFollowerServesThoughTheBudgetIsBusy: others take all describe calls that the bucket
// regains, so it is never half full. A replica that does not lead must be able to serve
// nevertheless.
func TestFollowerServesThoughTheBudgetIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newColdAccount(t)
		other := c.pacer(t)
		for range 4 {
			go func() {
				for err := error(nil); err == nil; {
					err = other.WaitForDescribe(t.Context(), nil)
				}
			}()
		}
		follower := c.replica(t, false)
		for start := time.Now(); follower.usable() < coldLoadBalancers; time.Sleep(time.Second) { // in the bubble
			if time.Since(start) > neverRead {
				t.Fatalf("after %v the replica can use %d of %d load balancers", neverRead, follower.usable(), coldLoadBalancers)
			}
		}
	})
}

// coldAccount is an emulated account with AWS's token buckets, and an empty ledger.
type coldAccount struct {
	emulator *elbemu.Emulator
	arns     []string
	leases   *ledgermem.Ledger
}

func newColdAccount(t *testing.T) *coldAccount {
	t.Helper()
	buckets := elbemu.PublishedBuckets()
	emulator, err := elbemu.New(elbemu.Config{Buckets: &buckets, Quotas: elbemu.Quotas{LoadBalancers: coldLoadBalancers}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &coldAccount{emulator: emulator, leases: ledgermem.New()}
	admin := elbv2.NewFromConfig(c.config(emulator))
	for n := range coldLoadBalancers {
		made, err := admin.CreateLoadBalancer(t.Context(), &elbv2.CreateLoadBalancerInput{
			Name: aws.String(fmt.Sprint("games-", n)), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-local-a", "subnet-local-b"},
		})
		if err != nil {
			t.Fatal(err)
		}
		arn := made.LoadBalancers[0].LoadBalancerArn
		if _, err := admin.ModifyLoadBalancerAttributes(t.Context(), &elbv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: arn,
			Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")}},
		}); err != nil {
			t.Fatal(err)
		}
		c.arns = append(c.arns, *arn)
		time.Sleep(6 * time.Second) // in the bubble: AWS creates one in five seconds
	}
	return c
}

func (*coldAccount) config(transport http.RoundTripper) aws.Config {
	return aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("A", "secret", ""), HTTPClient: &http.Client{Transport: transport},
	}
}

// RoundTrip takes the time of a call to AWS.
func (c *coldAccount) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	case <-time.After(awsTakes):
	}
	return c.emulator.RoundTrip(r)
}

// carry is the ledgermem.Network to the API server.
func (*coldAccount) carry(ctx context.Context, call ledgermem.Call, apply func() error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(leaseTakes):
	}
	return ledgermem.Direct(ctx, call, apply)
}

func (c *coldAccount) describes() (calls int) {
	for action, count := range c.emulator.CallCounts() {
		if strings.HasPrefix(action, "Describe") {
			calls += count.Total
		}
	}
	return calls
}

func (c *coldAccount) throttled() (calls int) {
	for _, count := range c.emulator.CallCounts() {
		calls += count.Throttled
	}
	return calls
}

// coldReplica reads the load balancers as an allocator's process does.
type coldReplica struct{ stock *inventory.Inventory }

// log is the test's.
func (*coldAccount) log(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// pacer is that of one replica. It hears of each write to the budget at once.
func (c *coldAccount) pacer(t *testing.T) *pacer.Pacer {
	t.Helper()
	pay := pacer.New(pacer.Config{
		Budgets: ledgermem.NewTable(c.leases.Budgets, c.carry, nil), Claims: ledgermem.NewClaimTable(c.leases.Claims, c.carry, nil),
		Ports: ledgermem.NewTable(c.leases.Ports, c.carry, nil), Limits: budget.Default, Now: time.Now, RenewEvery: 30 * time.Second,
		Age: func(string, string) time.Duration { return 0 }, Log: c.log(t), Count: func(string, string) {},
	})
	changed := make(chan struct{}, 1)
	c.leases.Budgets.Watch(func(_, _ *ledger.Record[ledger.Budget]) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	go func() {
		for {
			select {
			case <-t.Context().Done():
				return
			case <-changed:
				pay.Observe()
			}
		}
	}()
	return pay
}

func (c *coldAccount) replica(t *testing.T, leads bool) *coldReplica {
	t.Helper()
	log, pay := c.log(t), c.pacer(t)
	claims, ports := ledgermem.NewClaimTable(c.leases.Claims, c.carry, nil), ledgermem.NewTable(c.leases.Ports, c.carry, nil)
	client := paced.Client(elb.New(c.config(c), nil), func() *pacer.Pacer { return pay })
	stock := inventory.New(inventory.Config{
		Ledger: "l", AWS: client, Ports: ports, Cordons: ledgermem.NewTable(c.leases.Cordons, c.carry, nil), Log: log, Parallel: app.ParallelReads,
	}, []poolfile.Pool{{Name: "default", LoadBalancers: c.arns, Ranges: []pool.Range{{From: 30000, To: 30049}}}})
	audits := janitor.New(janitor.Config{
		Ledger: "l", Claims: claims, Ports: ports, AWS: client, Listings: stock, Observer: janitor.NewObserver(time.Now), Timing: janitor.Timing{ClaimDuration: 2 * time.Minute},
		ReserveDeletions: pay.Delete, ReserveDeregister: pay.Deregister, TryDescribes: pay.TryDescribes, Prepaid: paced.WithPrepaid,
		GetPod: func(context.Context, string, string) (*ledger.Pod, error) { return nil, nil },
		Warn:   func(context.Context, string, string, string, string, string) error { return nil },
		Count:  func(string, string) {}, Now: time.Now, NewEpoch: rand.Text, Log: log,
	})
	go func() {
		if err := app.Audits(t.Context(), stock, audits, leads, log); err != nil {
			t.Errorf("audits ended: %v", err)
		}
	}()
	return &coldReplica{stock}
}

// usable is how many load balancers the replica can use.
func (r *coldReplica) usable() int {
	p, _ := r.stock.Pool("default")
	return len(p.LoadBalancers)
}
