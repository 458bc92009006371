package claim_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// The order of events in these tests cannot be forced on a real API server: a lease
// deleted between two calls, a backup restored while a pod holds its port. So their
// ledger is in memory, with the compare-and-swap of the API server. Service and
// janitor are the real ones.

const (
	firstLB  = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/first/0000000000000001"
	secondLB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/second/0000000000000002"
)

// cloud is AWS and what the allocator has read from it. All listeners are on the
// first load balancer.
type cloud struct {
	ranges []pool.Range
	// read are the load balancers of the pool that were read from AWS.
	read     []string
	cordoned string // who cordoned all of them and why
	terms    pool.Terms
	limit    int

	mu        sync.Mutex // guards all below while pods bind concurrently
	listeners map[int]pool.Listener
	owners    map[string]pool.Owner
}

func (c *cloud) Names() []string { return []string{"default"} }

func (c *cloud) Pool(string) (pool.Pool, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := pool.Pool{Name: "default", Terms: c.terms, Unread: !slices.Contains(c.read, firstLB)}
	for _, arn := range c.read {
		lb := pool.LoadBalancer{LoadBalancer: api.LoadBalancer{ARN: arn}, Ranges: c.ranges, Cordoned: c.cordoned, Limit: c.limit}
		if arn == firstLB {
			for port := range c.listeners {
				lb.Listed = append(lb.Listed, pool.Listed{Port: port})
			}
		}
		found.LoadBalancers = append(found.LoadBalancers, lb)
	}
	return found, true
}

func (c *cloud) Inspect(context.Context, string) (pool.Inspection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return pool.Inspection{Listeners: maps.Clone(c.listeners), Limit: 50}, nil
}

func (c *cloud) ListenerOwner(_ context.Context, listenerARN string) (pool.Owner, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owners[listenerARN], nil
}

func (c *cloud) List(ctx context.Context) (map[string][]elb.Listener, error) {
	listeners, err := c.Listeners(ctx, firstLB)
	return map[string][]elb.Listener{firstLB: listeners}, err
}

func (c *cloud) Listeners(context.Context, string) (all []elb.Listener, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for port, l := range c.listeners {
		all = append(all, elb.Listener{ARN: l.ARN, Port: port, TargetGroupARNs: l.TargetGroupARNs})
	}
	return all, nil
}

func (c *cloud) Offers(string, int) bool { return true }

func (c *cloud) Sticky(string, int) (time.Duration, bool) { return 0, true }

func (c *cloud) TargetGroups(context.Context) ([]elb.TargetGroup, error) { return nil, nil }

func (c *cloud) Targets(context.Context, string) ([]elb.Target, error) { return nil, nil }

// Tags are foreign, because only those of foreign listeners are read here.
func (c *cloud) Tags(_ context.Context, arns ...string) (map[string]map[string]string, error) {
	tags := make(map[string]map[string]string)
	for _, arn := range arns {
		tags[arn] = map[string]string{"owner": "somebody else"}
	}
	return tags, nil
}

func (c *cloud) DeregisterTargets(_ context.Context, arn string, _ []elb.Target) error {
	return fmt.Errorf("target group %s is a live pod's or foreign", arn)
}

func (c *cloud) DeleteListener(_ context.Context, arn string) error {
	return fmt.Errorf("listener %s is a live pod's or foreign", arn)
}

func (c *cloud) DeleteTargetGroup(_ context.Context, arn string) error {
	return fmt.Errorf("target group %s is a live pod's or foreign", arn)
}

// foreign creates a foreign listener on a port.
func (c *cloud) foreign(port int) {
	arn := strings.Replace(firstLB, ":loadbalancer/", ":listener/", 1) + fmt.Sprintf("/%016x", 0xf0000+port)
	c.listeners[port] = pool.Listener{ARN: arn, TargetGroupARNs: []string{"somebody else's"}}
}

// plenty is an AWS budget that grants every call.
type plenty struct{}

func (plenty) Bind(context.Context, ledger.Record[ledger.Claim], []ledger.Port, int) (time.Duration, error) {
	return 0, nil
}

func (plenty) ReserveDescribes(_ context.Context, calls int) (int, time.Duration, error) {
	return calls, 0, nil
}

func (plenty) TryOpportunistic(context.Context, string, int) (bool, error) { return true, nil }
func (plenty) Deregister(context.Context, string, int, int) (bool, error)  { return true, nil }
func (plenty) TryDescribes(context.Context, int) (bool, error)             { return false, nil }
func (plenty) Delete(_ context.Context, _ string, deletions int) (granted int, wait time.Duration, err error) {
	return deletions, 0, nil
}

func (plenty) Throttled(context.Context, string, int) error { return nil }

const (
	claimDuration = 2 * time.Minute
	listenerPort  = 7000 // the first of the pool
)

// world is one allocator with its ledger, the pods, and AWS.
type world struct {
	*testing.T
	ledger  *ledgermem.Ledger
	claims  ledgermem.ClaimTable
	ports   *ledgermem.Table[ledger.Port]
	pods    map[string]*ledger.Pod
	cloud   *cloud
	service *claim.Service
	janitor *janitor.Janitor
	now     time.Time

	mu sync.Mutex
	// counted are the results and the milestones of claims.
	counted []string
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted = append(w.counted, what)
}

// newWorld has a pool with that many ports on each load balancer.
func newWorld(t *testing.T, size int) *world {
	leases := ledgermem.New()
	w := &world{
		T: t, ledger: leases, pods: make(map[string]*ledger.Pod), now: time.Now(),
		claims: ledgermem.NewClaimTable(leases.Claims, ledgermem.Direct, nil), ports: ledgermem.NewTable(leases.Ports, ledgermem.Direct, nil),
		cloud: &cloud{
			ranges: []pool.Range{{From: listenerPort, To: listenerPort + size - 1}}, read: []string{firstLB},
			terms: pool.Terms{Protocols: []api.Protocol{api.TCP}, Cooldown: time.Minute}, limit: 50,
			listeners: make(map[int]pool.Listener), owners: make(map[string]pool.Owner),
		},
	}
	now, log := func() time.Time { return w.now }, slog.New(slog.DiscardHandler)
	var epochs atomic.Int64
	newEpoch := func() string { return fmt.Sprintf("epoch-%d", epochs.Add(1)) }
	getPod := func(_ context.Context, _, pod string) (*ledger.Pod, error) { return w.pods[pod], nil }
	observer := janitor.NewObserver(now)
	w.service = claim.New(claim.Config{
		Both:   claim.AtOnce,
		Ledger: "l", Claims: w.claims, Ports: w.ports, Pools: w.cloud, GetPod: getPod, TargetGroupName: elb.TargetGroupName,
		Duration: claimDuration, RenewEvery: claimDuration / 4, UnbindEvery: func() time.Duration { return time.Second }, ReturnPatience: time.Minute, Budget: plenty{}, Age: observer.Age,
		NewEpoch: newEpoch,
		Count:    func(result, pool string) { w.count(result + " in " + pool) },
		Passed: func(milestone, pool string, took time.Duration) {
			w.count(fmt.Sprintf("%s after %v in %s", milestone, took, pool))
		},
		Now: now, WakeJanitor: func() {}, Log: log,
	})
	w.janitor = janitor.New(janitor.Config{
		Ledger: "l", Claims: w.claims, Ports: w.ports, AWS: w.cloud, Listings: w.cloud, Observer: observer,
		Timing: janitor.Timing{ClaimDuration: claimDuration, AgentGrace: time.Minute}, GetPod: getPod,
		ReserveDeletions: plenty{}.Delete, ReserveDeregister: plenty{}.Deregister, TryDescribes: plenty{}.TryDescribes, Prepaid: func(ctx context.Context, _ int) context.Context { return ctx },
		Warn:  func(context.Context, string, string, string, string, string) error { return nil },
		Count: func(string, string) {}, Now: now, NewEpoch: newEpoch, Log: log,
	})
	return w
}

func holderOf(pod string) claim.Holder {
	return claim.Holder{Namespace: "games", Pod: pod, UID: "uid-" + pod}
}

// claim claims ports of those names for a pod, or one port.
func (w *world) claim(pod, ip string, names ...string) (api.Claim, error) {
	return w.claimDeregistered(pod, ip, 0, names...)
}

// claimFrom is claim, asked of another replica.
func (w *world) claimFrom(service *claim.Service, pod, ip string) (api.Claim, error) {
	here := w.service
	w.service = service
	defer func() { w.service = here }()
	return w.claim(pod, ip)
}

// claimDeregistered is claim by an agent that has deregistered the previous pod IP.
func (w *world) claimDeregistered(pod, ip string, addressChanges int, names ...string) (api.Claim, error) {
	h := holderOf(pod)
	w.pods[pod] = &ledger.Pod{UID: h.UID, IPs: []string{ip}}
	req := api.ClaimRequest{PodUID: h.UID, PodIP: ip, Pool: "default", PreviousIPDeregistered: addressChanges}
	for i, name := range append(names, "game")[:max(1, len(names))] {
		req.Ports = append(req.Ports, api.Port{Name: name, Protocol: api.TCP, TargetPort: 7777 + i})
	}
	c, _, err := w.service.Claim(w.Context(), h, req)
	return c, err
}

func (w *world) renew(c api.Claim) (api.RenewAnswer, error) {
	return w.service.Renew(w.Context(), holderOf(c.Pod), api.RenewRequest{ClaimUID: c.UID, PodIP: c.PodIP, Pool: c.Pool, Ports: c.Ports})
}

// freePorts lets that many of the pool's first ports have had holders before.
func (w *world) freePorts(n int) {
	w.Helper()
	for n := range n {
		name := ledger.PortName(ledger.LoadBalancerID(firstLB), listenerPort+n)
		w.ledger.Ports.Recreate(name, ledger.Port{LoadBalancerARN: firstLB, ListenerPort: listenerPort + n, State: ledger.Free, Epoch: "e", Generation: 3})
	}
}

// move does what an agent does when its pod IP has changed.
func (w *world) move(pod, ip string) error {
	c, err := w.claim(pod, ip)
	if err == nil && c.PreviousIP != "" {
		_, err = w.claimDeregistered(pod, ip, c.AddressChanges)
	}
	return err
}

// sweepFor sweeps, lets time pass, sweeps, and lets it pass again.
func (w *world) sweepFor(d time.Duration) {
	w.Helper()
	for range 2 {
		if err := errors.Join(w.janitor.Sweep(w.Context()), w.janitor.UnbindReleasing(w.Context())); err != nil {
			w.Error(err)
		}
		w.now = w.now.Add(d)
	}
}

// refused expects an error of that code.
func (w *world) refused(err error, code api.Code) {
	w.Helper()
	if !errors.Is(err, &api.Problem{Code: code}) {
		w.Fatalf("got %v, want %s", err, code)
	}
}

// claimLease is the ledger's record of a pod's claim.
func (w *world) claimLease(pod string) ledger.Record[ledger.Claim] {
	w.Helper()
	r, err := w.claims.Get(w.Context(), ledger.ClaimName(holderOf(pod).UID))
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// stalePort shows the cache a port lease as it was before, with these changes.
func (w *world) stalePort(lease string, change func(*ledger.Port)) {
	old, _ := w.ledger.Ports.Row(lease)
	old.Version = "0"
	change(&old.Value)
	w.ports.Show(old)
}

// keeps expects the claim to hold its first port as it was granted, in that state.
func (w *world) keeps(c api.Claim, state ledger.PortState) {
	w.Helper()
	f := c.Ports[0].Fence
	r, err := w.ports.Get(w.Context(), f.Lease)
	if err != nil || !r.Value.HeldBy(ledger.ClaimName(c.PodUID), f) || r.Value.State != state {
		w.Errorf("pod %s does not have %+v %s any more: %+v, %v", c.Pod, f, state, r.Value, err)
	}
}

// loseClaim deletes a claim lease, as an admin may.
func (w *world) loseClaim(pod string) {
	w.Helper()
	if err := w.claims.Delete(w.Context(), w.claimLease(pod)); err != nil {
		w.Fatal(err)
	}
}
