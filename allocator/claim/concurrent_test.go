package claim_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// overtaken is a table of claims in which something happens just before the first
// claim lease is created.
type overtaken struct {
	ledgermem.ClaimTable
	by func()
}

func (o *overtaken) Create(ctx context.Context, name string, c ledger.Claim) (ledger.Record[ledger.Claim], error) {
	if by := o.by; by != nil {
		o.by = nil
		by()
	}
	return o.ClaimTable.Create(ctx, name, c)
}

// TestConcurrentCallsFindTheSameClaim: a pod repeats its PUT on another replica before
// the first call has reached the ledger, and both caches are stale. Both calls are
// answered with one claim, and no other port is taken.
func TestConcurrentCallsFindTheSameClaim(t *testing.T) {
	w := newWorld(t, 4)
	other := claim.New(w.service.Config)
	h := holderOf("a")
	w.pods["a"] = &ledger.Pod{UID: h.UID, IPs: []string{"10.0.0.1"}}
	req := api.ClaimRequest{PodUID: h.UID, PodIP: "10.0.0.1", Pool: "default", Ports: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}}}
	var second api.Claim
	w.service.Claims = &overtaken{ClaimTable: w.claims, by: func() {
		w.ports.Freeze()
		var err error
		if second, _, err = other.Claim(t.Context(), h, req); err != nil {
			t.Error(err)
		}
	}}
	first, created, err := w.service.Claim(t.Context(), h, req)
	if err != nil || created || len(first.Ports) != 1 || first.UID != second.UID || first.Ports[0].Fence != second.Ports[0].Fence {
		t.Errorf("one call is answered %+v (created: %v), %v; the other %+v", first, created, err, second)
	}
	for _, r := range w.ledger.Ports.List() {
		if r.Value.Held() && r.Name != second.Ports[0].Fence.Lease {
			t.Errorf("%s was taken beside the claim", r.Name)
		}
	}
}

// TestTakenPortWithoutAPlanIsReleased: a late call took it after the claim was planned
// again. The ports of the plan stay.
func TestTakenPortWithoutAPlanIsReleased(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("a", "10.0.0.1")
	beside := w.ledger.Ports.Value(c.Ports[0].Fence.Lease)
	beside.ListenerPort = 2*listenerPort + 1 - beside.ListenerPort
	beside.State, beside.TargetGroupARN, beside.ListenerARN = ledger.Claimed, "", ""
	name := ledger.PortName(ledger.LoadBalancerID(firstLB), beside.ListenerPort)
	w.ledger.Ports.Recreate(name, beside)
	w.sweepFor(time.Second)
	if p := w.ledger.Ports.Value(name); p.State != ledger.Free || p.Holder != "" {
		t.Errorf("the port that no plan lists is %+v", p)
	}
	w.keeps(c, ledger.Bound)
}

// TestReportThatConflictsIsDecidedAgain: the janitor begins to release the port while a
// report is being written. The report must not license a listener on that port.
func TestReportThatConflictsIsDecidedAgain(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("a", "10.0.0.1")
	p := c.Ports[0]
	r := &rival{Table: w.ports, store: w.ledger.Ports, takes: func(p *ledger.Port) { *p = p.BeginRelease(ledger.AgentAbsent) }}
	w.service.Ports = r
	another := strings.Replace(p.TargetGroupARN, "/000000000000", "/100000000000", 1)
	err := w.service.TargetGroup(t.Context(), holderOf("a"), api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: another})
	w.refused(err, api.Lost)
	if p := w.ledger.Ports.Value(p.Fence.Lease); p.State != ledger.Releasing || p.TargetGroupARN == another {
		t.Errorf("the releasing port is %+v", p)
	}
}

// TestPortLeaseOutlivesItsHolders: otherwise a generation could be given twice.
func TestPortLeaseOutlivesItsHolders(t *testing.T) {
	w := newWorld(t, 1)
	former := w.bind("a", "10.0.0.1")
	f := former.Ports[0].Fence
	w.ledger.Ports.Change(f.Lease, func(p *ledger.Port) { p.State, p.Holder, p.TargetGroupARN, p.ListenerARN = ledger.Cooldown, "", "", "" })
	w.loseClaim("a")
	clear(w.cloud.listeners)
	w.sweepFor(2 * time.Minute)
	c, err := w.claim("b", "10.0.0.2")
	if err != nil || len(c.Ports) != 1 {
		t.Fatalf("it is granted %+v, %v", c.Ports, err)
	}
	want := f
	want.Generation++
	if got := c.Ports[0].Fence; got != want {
		t.Errorf("after %+v comes %+v", f, got)
	}
}

// cutOff is a table of ports in which a rival takes the second port of a plan. After
// that it cannot be reached.
type cutOff struct {
	*ledgermem.Table[ledger.Port]
	creates int
}

func (c *cutOff) Create(ctx context.Context, name string, p ledger.Port) (ledger.Record[ledger.Port], error) {
	if c.creates++; c.creates != 2 {
		return c.Table.Create(ctx, name, p)
	}
	p.Holder = "claim-uid-rival"
	r, _ := c.Table.Create(ctx, name, p)
	return r, ledger.ErrConflict
}

func (c *cutOff) Update(ctx context.Context, r ledger.Record[ledger.Port]) (ledger.Record[ledger.Port], error) {
	if c.creates >= 2 {
		return r, errors.New("cut off")
	}
	return c.Table.Update(ctx, r)
}

func (c *cutOff) Get(ctx context.Context, name string) (ledger.Record[ledger.Port], error) {
	r, err := c.Table.Get(ctx, name)
	if c.creates >= 2 && r.Value.Holder == "claim-uid-a" {
		return ledger.Record[ledger.Port]{}, errors.New("cut off")
	}
	return r, err
}

// TestPortOfAnAbandonedPlanIsReleased: the replica that gave up the plan was cut off
// before it released the port. Two waiting claims that each kept one port would wait
// for each other. The port is not remembered either: its load balancer may have been
// cordoned meanwhile.
func TestPortOfAnAbandonedPlanIsReleased(t *testing.T) {
	w := newWorld(t, 2)
	w.service.Ports = &cutOff{Table: w.ports}
	_, err := w.claim("a", "10.0.0.1", "game", "chat")
	w.refused(err, api.Unavailable)
	if c := w.claimLease("a").Value; c.State != ledger.Waiting || len(c.Ports) > 0 {
		t.Fatalf("its claim is %+v", c)
	}
	var left, rivals string
	for _, r := range w.ledger.Ports.List() {
		if r.Value.Holder == "claim-uid-a" {
			left = r.Name
		} else {
			rivals = r.Name
		}
	}
	if left == "" || rivals == "" {
		t.Fatalf("the ports are %+v", w.ledger.Ports.List())
	}
	w.service.Ports = w.ports
	w.ledger.Ports.Change(rivals, func(p *ledger.Port) { p.State, p.Holder = ledger.Free, "" })
	w.cloud.cordoned = "cordoned"
	_, err = w.claim("a", "10.0.0.1", "game", "chat")
	w.refused(err, api.Exhausted)
	w.sweepFor(time.Second)
	if p := w.ledger.Ports.Value(left); p.State != ledger.Free || p.Holder != "" {
		t.Errorf("the abandoned port is %+v", p)
	}
	w.cloud.cordoned = ""
	if c, err := w.claim("a", "10.0.0.1", "game", "chat"); err != nil || len(c.Ports) != 2 {
		t.Errorf("it is granted %+v, %v", c.Ports, err)
	}
}

// TestSlowCallKeepsWhatAnotherCallWasGranted: two calls of one pod are under way. The slow one
// has seen the planned port still held by another pod. Meanwhile the port comes free, and the
// other call takes it by the same plan.
func TestSlowCallKeepsWhatAnotherCallWasGranted(t *testing.T) {
	w := newWorld(t, 1)
	former := w.bind("former", "10.0.0.2")
	_, err := w.claim("game", "10.0.0.1")
	w.refused(err, api.Exhausted)
	f := former.Ports[0].Fence
	f.Generation++
	w.ledger.Claims.Change("claim-uid-game", func(c *ledger.Claim) {
		c.LoadBalancer, c.Planned = former.LoadBalancer, true
		c.Ports = []ledger.PlannedPort{{ListenerPort: former.Ports[0].ListenerPort, Fence: f, HealthCheck: former.Ports[0].HealthCheck}}
	})
	first, config := w.service, w.service.Config
	var meanwhile sync.Once
	config.Claims = ledgermem.NewClaimTable(w.ledger.Claims, func(ctx context.Context, c ledgermem.Call, apply func() error) error {
		if c.Verb == "update" {
			meanwhile.Do(func() { // the slow call has read the port before
				w.ledger.Claims.Remove("claim-uid-former")
				w.ledger.Ports.Change(f.Lease, func(p *ledger.Port) { p.State, p.Holder, p.TargetGroupARN, p.ListenerARN = ledger.Free, "", "", "" })
				if c, err := w.claimFrom(first, "game", "10.0.0.1"); err != nil || c.Ports[0].Fence != f {
					t.Fatalf("the other call is granted %+v, %v", c.Ports, err)
				}
			})
		}
		return ledgermem.Direct(ctx, c, apply)
	}, nil)
	c, err := w.claimFrom(claim.New(config), "game", "10.0.0.1")
	if err != nil || len(c.Ports) != 1 || c.Ports[0].Fence != f {
		t.Errorf("the slow call is granted %+v, %v", c.Ports, err)
	}
	if p := w.ledger.Ports.Value(f.Lease); p.State != ledger.Claimed || !p.Holds("claim-uid-game", f) {
		t.Errorf("the port is %s, held by %q", p.State, p.Holder)
	}
}
