package janitor_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// account is the janitor and the inventory as the allocator wires them, on an emulated
// AWS account with a ledger in memory. The test fills both, so no agent is needed.
type account struct {
	*testing.T
	emulator *elbemu.Emulator
	// aws is the test's own client, foreignClient somebody else's.
	aws           *elb.Client
	foreignClient *elbv2.Client
	// door is between the janitor and AWS; nil for a direct connection.
	door func(*http.Request) (*http.Response, error)

	ledger *ledgermem.Ledger
	claims ledgermem.ClaimTable
	ports  *ledgermem.Table[ledger.Port]
	pods   map[string]*ledger.Pod
	// noPods is the error of every pod read, noPorts of every read of a port lease; nil
	// for none.
	noPods, noPorts error

	loadBalancers []string
	stock         *inventory.Inventory
	janitor       *janitor.Janitor
	now           time.Time
	granted       int // deletions, by passes
	// made has the ARNs of what the test created, by its own names: "live 0/listener".
	made map[string]string
}

// auditLedger is the ledger's ID, podIP the IP of all pods.
const (
	auditLedger = "kube-system-uid/portlease"
	podIP       = "127.30.0.9"
	firstAudit  = 30000 // the first listener port of the pool
)

// RoundTrip implements http.RoundTripper for the janitor.
func (w *account) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.door != nil {
		return w.door(r)
	}
	return w.emulator.RoundTrip(r)
}

// portCall is the ledgermem.Network to the port leases.
func (w *account) portCall(ctx context.Context, c ledgermem.Call, apply func() error) error {
	if c.Verb == "get" && w.noPorts != nil {
		return w.noPorts
	}
	return ledgermem.Direct(ctx, c, apply)
}

// newAccount has that many load loadBalancers, which are described.
func newAccount(t *testing.T, loadBalancers int) *account {
	t.Helper()
	return newAccountOn(t, loadBalancers, elbemu.Config{})
}

// newAccountOn is newAccount with a configuration of the emulator. Its clock is the test's
// unless that has one.
func newAccountOn(t *testing.T, loadBalancers int, c elbemu.Config) *account {
	t.Helper()
	w := &account{T: t, now: time.Now(), pods: make(map[string]*ledger.Pod), made: make(map[string]string)}
	if c.Now == nil {
		c.Now = func() time.Time { return w.now }
	}
	c.Quotas = elbemu.Quotas{LoadBalancers: loadBalancers, Listeners: 51, TargetGroups: 4000}
	emulator, err := elbemu.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emulator.Close(); err != nil {
			t.Error(err)
		}
	})
	leases := ledgermem.New()
	w.emulator, w.ledger, w.claims = emulator, leases, ledgermem.NewClaimTable(leases.Claims, ledgermem.Direct, nil)
	w.ports = ledgermem.NewTable(leases.Ports, w.portCall, nil)
	through := func(transport http.RoundTripper) aws.Config {
		return aws.Config{
			Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("A", "secret", ""), HTTPClient: &http.Client{Transport: transport},
		}
	}
	w.aws, w.foreignClient = elb.New(through(emulator), nil), elbv2.NewFromConfig(through(emulator))
	for n := range loadBalancers {
		w.loadBalancers = append(w.loadBalancers, w.createLoadBalancer(fmt.Sprintf("games-%d", n)))
	}
	client, log := elb.New(through(w), nil), slog.New(slog.DiscardHandler)
	w.stock = inventory.New(inventory.Config{Ledger: auditLedger, AWS: client, Ports: w.ports, Cordons: ledgermem.NewTable(leases.Cordons, ledgermem.Direct, nil), Log: log},
		[]poolfile.Pool{{Name: "default", LoadBalancers: w.loadBalancers, Ranges: []pool.Range{{From: firstAudit, To: firstAudit + 49}}}})
	if err := w.stock.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return w.now }
	w.janitor = janitor.New(janitor.Config{
		Ledger: auditLedger, Claims: w.claims, Ports: w.ports, AWS: client, Listings: w.stock, Observer: janitor.NewObserver(now),
		Timing:           janitor.Timing{ClaimDuration: claimDuration, AgentGrace: time.Minute},
		GetPod:           func(_ context.Context, _, pod string) (*ledger.Pod, error) { return w.pods[pod], w.noPods },
		ReserveDeletions: alwaysGranted, ReserveDeregister: alwaysDeregistered, TryDescribes: neverIdle, Prepaid: func(ctx context.Context, _ int) context.Context { return ctx },
		Warn:  func(context.Context, string, string, string, string, string) error { return nil },
		Count: func(string, string) {}, Now: now, NewEpoch: rand.Text, Log: log,
	})
	return w
}

func (w *account) createLoadBalancer(name string) string {
	w.Helper()
	made, err := w.foreignClient.CreateLoadBalancer(w.Context(), &elbv2.CreateLoadBalancerInput{
		Name: &name, Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-local-a", "subnet-local-b"},
	})
	w.must(err)
	arn := made.LoadBalancers[0].LoadBalancerArn
	_, err = w.foreignClient.ModifyLoadBalancerAttributes(w.Context(), &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: arn,
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")}},
	})
	w.must(err)
	return *arn
}

func (w *account) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// fenceOf is the fence of a port's holding of that generation.
func (w *account) fenceOf(balancer, port, generation int) api.Fence {
	return api.Fence{Lease: ledger.PortName(ledger.LoadBalancerID(w.loadBalancers[balancer]), port), Epoch: "e", Generation: generation}
}

// group creates a target group as an agent does, with the pod as its target.
func (w *account) group(name, pod string, f api.Fence) (arn string) {
	w.Helper()
	arn, err := w.aws.CreateTargetGroup(w.Context(), elb.TargetGroupSpec{
		Name: elb.TargetGroupName(auditLedger, f), Protocol: api.UDP, Port: 7777, VPC: "vpc-local",
		HealthCheck: elb.HealthCheck{Protocol: "TCP", Port: 9901}, Tags: tagsOf(pod, f),
	})
	w.must(err)
	w.must(w.aws.RegisterTarget(w.Context(), arn, podIP, 7777))
	w.made[name+"/group"] = arn
	return arn
}

// bind creates a whole binding as an agent does.
func (w *account) bind(name, pod string, balancer, port, generation int) (group, listener string) {
	w.Helper()
	f := w.fenceOf(balancer, port, generation)
	group = w.group(name, pod, f)
	listener, err := w.aws.CreateListener(w.Context(), elb.ListenerSpec{
		LoadBalancerARN: w.loadBalancers[balancer], Port: port, Protocol: api.UDP, TargetGroupARN: group, Tags: tagsOf(pod, f),
	})
	w.must(err)
	w.made[name+"/listener"] = listener
	return group, listener
}

func tagsOf(pod string, f api.Fence) elb.Tags {
	return elb.Tags{Ledger: auditLedger, Namespace: "games", Pod: pod, PodUID: "uid-" + pod, Lease: f.Lease, Epoch: f.Epoch, Generation: f.Generation}
}

// lives lets a pod exist.
func (w *account) lives(pod string) {
	w.pods[pod] = &ledger.Pod{UID: "uid-" + pod, IPs: []string{podIP}}
}

// record writes a port lease of generation 1 and, if the port has a holder, the claim
// lease of its pod.
func (w *account) record(pod string, balancer, port int, p ledger.Port) {
	w.Helper()
	f := w.fenceOf(balancer, port, 1)
	p.LoadBalancerARN, p.ListenerPort, p.Epoch, p.CooldownTime = w.loadBalancers[balancer], port, f.Epoch, time.Minute
	p.Generation = max(p.Generation, 1)
	p.Namespace, p.Pod, p.PodUID, p.PortName = "games", pod, "uid-"+pod, "game"
	if p.Held() {
		p.Holder = ledger.ClaimName(p.PodUID)
		state := ledger.Granted
		if p.State == ledger.Releasing {
			state = ledger.ClaimReleasing
		}
		_, err := w.claims.Create(w.Context(), p.Holder, ledger.Claim{
			Namespace: "games", Pod: pod, PodUID: p.PodUID, PodIP: podIP, ConfirmedIP: podIP, Pool: "default", State: state, Duration: claimDuration,
			Requested: []api.Port{{Name: "game", Protocol: api.UDP, TargetPort: 7777}}, LoadBalancer: api.LoadBalancer{ARN: w.loadBalancers[balancer]},
			Ports: []ledger.PlannedPort{{ListenerPort: port, Fence: f}}, RenewedAt: w.now,
		})
		w.must(err)
	}
	_, err := w.ports.Create(w.Context(), f.Lease, p)
	w.must(err)
}

// foreign creates a foreign listener and target group.
func (w *account) foreign(name string, balancer, port int) {
	w.Helper()
	group, err := w.foreignClient.CreateTargetGroup(w.Context(), &elbv2.CreateTargetGroupInput{
		Name: aws.String("else-" + strings.ReplaceAll(name, " ", "-")), Protocol: types.ProtocolEnumTcp, Port: aws.Int32(443), VpcId: aws.String("vpc-local"),
		TargetType: types.TargetTypeEnumIp,
	})
	w.must(err)
	w.made[name+"/group"] = *group.TargetGroups[0].TargetGroupArn
	listener, err := w.foreignClient.CreateListener(w.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.loadBalancers[balancer], Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumTcp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	})
	w.must(err)
	w.made[name+"/listener"] = *listener.Listeners[0].ListenerArn
}

// roundTime is the time between rounds. It is longer than any of the janitor's waits
// before it retries to unbind.
const roundTime = 30 * time.Second

// rounds sweeps and audits that many times and returns all errors.
func (w *account) rounds(n int) error { return errors.Join(w.errorsOf(n)) }

// errorsOf is rounds with the errors of sweeps and audits apart.
func (w *account) errorsOf(n int) (sweeps, audits error) {
	for range n {
		sweeps = errors.Join(sweeps, w.janitor.Sweep(w.Context()), w.janitor.UnbindReleasing(w.Context()))
		audits = errors.Join(audits, w.janitor.Audit(w.Context()))
		w.now = w.now.Add(roundTime)
	}
	return sweeps, audits
}

// expectError expects an error that contains that text.
func (w *account) expectError(who string, err error, text string) {
	w.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		w.Errorf("%s fail with %v, which should contain %q", who, err, text)
	}
}

const claimDuration = 2 * time.Minute

// untilAll is how many rounds suffice to delete all that is to be deleted.
const untilAll = int(claimDuration/roundTime) + 6

// gone are the names of what does not exist in AWS any more.
func (w *account) gone() []string {
	there := make(map[string]bool)
	s := w.emulator.Snapshot()
	for _, l := range s.Listeners {
		there[l.ARN] = true
	}
	for _, g := range s.TargetGroups {
		there[g.ARN] = true
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.made)), func(name string) bool { return there[w.made[name]] })
}

// expectGone expects exactly that to be gone from AWS.
func (w *account) expectGone(want ...string) {
	w.Helper()
	slices.Sort(want)
	if got := w.gone(); !slices.Equal(got, want) {
		w.Errorf("gone from AWS are %q, want %q", got, want)
	}
}

// is expects a port to be in that state.
func (w *account) is(balancer, port int, want ledger.PortState) {
	w.Helper()
	if got := w.ledger.Ports.Value(w.fenceOf(balancer, port, 1).Lease).State; got != want {
		w.Errorf("port %d of load balancer %d is %q, want %q", port, balancer, got, want)
	}
}
