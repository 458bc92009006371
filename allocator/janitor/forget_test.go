package janitor_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// free records free ports that had holders before, and lets them age.
func (w *account) free(balancer int, age time.Duration, ports ...int) {
	w.Helper()
	for _, port := range ports {
		w.record(fmt.Sprint("gone-", port), balancer, port, ledger.Port{State: ledger.Free})
	}
	w.ages(age)
}

// ages lets all leases age.
func (w *account) ages(d time.Duration) {
	w.Helper()
	w.must(w.janitor.Sweep(w.Context()))
	w.now = w.now.Add(d)
	w.must(w.janitor.Sweep(w.Context()))
}

// leases expects these port leases of a load balancer.
func (w *account) leases(what string, want ...int) {
	w.Helper()
	var got []int
	for _, r := range w.ledger.Ports.List() {
		got = append(got, r.Value.ListenerPort)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("%s: the port leases are %v, want %v", what, got, want)
	}
}

func (w *account) audit() {
	w.Helper()
	w.must(w.janitor.Audit(w.Context()))
}

func TestLeaseOfAPortThatIsFreeForLongIsDeleted(t *testing.T) {
	w := newAccount(t, 1)
	w.free(0, 23*time.Hour, 30000)
	w.record("blocked", 0, 30001, ledger.Port{State: ledger.Blocked, BlockedBy: "alice: broken"})
	w.lives("game")
	group, listener := w.bind("game", "game", 0, 30002, 1)
	w.record("game", 0, 30002, ledger.Port{State: ledger.Bound, TargetGroupARN: group, ListenerARN: listener})
	w.audit()
	w.leases("free for 23 hours", 30000, 30001, 30002)
	w.ages(time.Hour)
	w.audit()
	w.leases("free for 24 hours", 30001, 30002)
	w.ages(30 * 24 * time.Hour)
	w.audit()
	w.leases("a month later", 30001, 30002)
}

// TestStickyPortKeepsItsLease: the pool keeps a port for its last pod for that long.
func TestStickyPortKeepsItsLease(t *testing.T) {
	w := newAccount(t, 1)
	w.stock.SetPools([]poolfile.Pool{{
		Name: "default", LoadBalancers: w.loadBalancers, Ranges: []pool.Range{{From: 30000, To: 30049}}, Terms: pool.Terms{Sticky: 7 * 24 * time.Hour},
	}})
	w.free(0, 6*24*time.Hour, 30000)
	w.audit()
	w.leases("within the sticky time", 30000)
	w.ages(24 * time.Hour)
	w.audit()
	w.leases("after the sticky time")
}

// TestLeasesOfARemovedLoadBalancerAreDeleted after an hour, once no pool has it.
func TestLeasesOfARemovedLoadBalancerAreDeleted(t *testing.T) {
	w := newAccount(t, 2)
	w.free(1, 2*time.Hour, 30000, 30001)
	w.audit()
	w.leases("of a load balancer of the pool", 30000, 30001)
	w.stock.SetPools([]poolfile.Pool{{Name: "default", LoadBalancers: w.loadBalancers[:1], Ranges: []pool.Range{{From: 30000, To: 30049}}}})
	w.audit()
	w.leases("of a removed load balancer")
}

// TestLeaseStaysWhileAWSHasAResourceOfItsEpoch, because it proves that the resource is an
// orphan.
func TestLeaseStaysWhileAWSHasAResourceOfItsEpoch(t *testing.T) {
	for what, leave := range map[string]func(*account){
		"a target group": func(w *account) { w.group("orphan", "gone-30000", w.fenceOf(0, 30000, 1)) },
		"a listener":     func(w *account) { w.bind("orphan", "gone-30000", 0, 30000, 1) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newAccount(t, 1)
			w.free(0, 25*time.Hour, 30000)
			leave(w)
			grants := w.janitor.ReserveDeletions
			w.janitor.ReserveDeletions = noDeletions
			for range 5 {
				w.audit()
			}
			w.leases("while it is there", 30000)
			w.janitor.ReserveDeletions = grants
			w.audit() // deletes what is left
			w.audit() // a target group in use takes a second time
			w.audit()
			w.leases("once it is gone")
		})
	}
}

// TestLeaseThatSomebodyIsTakingStays: its claim lists it, or has just written it.
func TestLeaseThatSomebodyIsTakingStays(t *testing.T) {
	w := newAccount(t, 1)
	w.free(0, 25*time.Hour, 30000, 30001)
	f := w.fenceOf(0, 30000, 2)
	_, err := w.claims.Create(w.Context(), "claim-planned", ledger.Claim{State: ledger.Granted, Duration: claimDuration, Ports: []ledger.PlannedPort{{ListenerPort: 30000, Fence: f}}})
	w.must(err)
	old, _ := w.ports.Cached(w.fenceOf(0, 30001, 1).Lease)
	w.ledger.Ports.Change(old.Name, func(p *ledger.Port) {
		p.State, p.Holder, p.Generation, p.TargetGroupARN = ledger.Claimed, "claim-other", 2, "arn"
	})
	w.ports.Show(old) // the cache is stale
	w.audit()
	w.leases("planned, and taken a moment ago", 30000, 30001)
}

// TestLedgerIsBoundedThroughAYearOfChurn has pods come and go for a year on a range that is
// far wider than the load balancers. Half a year on, one of them is removed.
func TestLedgerIsBoundedThroughAYearOfChurn(t *testing.T) {
	const (
		step    = 6 * time.Hour
		steps   = 365 * 24 * time.Hour / step
		starts  = 5 // pods that start in a step
		mostUp  = 40
		keptFor = 30 * time.Hour / step // a lease is deleted within that many steps
		most    = mostUp + starts*int(keptFor)
	)
	w := newAccount(t, 2)
	w.pools(w.loadBalancers)
	service, random := w.service(), rand.New(rand.NewPCG(16, 6))
	up := make(map[string]api.Claim) // by pod
	last := make(map[string]api.Fence)
	largest, deleted := 0, 0
	for n := range int(steps) {
		if n == int(steps)/2 {
			w.pools(w.loadBalancers[:1])
		}
		for m := range starts {
			pod := fmt.Sprintf("game-%d-%d", n, m)
			h := claim.Holder{Namespace: "games", Pod: pod, UID: "uid-" + pod}
			ip := fmt.Sprintf("127.30.%d.%d", n%250, m+1)
			w.pods[pod] = &ledger.Pod{UID: h.UID, IPs: []string{ip}}
			c, _, err := service.Claim(w.Context(), h, api.ClaimRequest{PodUID: h.UID, PodIP: ip, Pool: "default", Ports: []api.Port{{Name: "game", Protocol: api.TCP, TargetPort: 7777}}})
			w.must(err)
			f := c.Ports[0].Fence
			before, held := last[f.Lease]
			switch {
			case held && f.Epoch != before.Epoch:
				deleted++
				fallthrough
			case !held:
				if f.Generation != 1 || f.Epoch == before.Epoch {
					t.Fatalf("a new lease begins with %+v after %+v", f, before)
				}
			case f.Generation <= before.Generation:
				t.Fatalf("the generation fell from %+v to %+v", before, f)
			}
			last[f.Lease], up[pod] = f, c
		}
		for _, pod := range slices.Sorted(maps.Keys(up)) {
			c := up[pod]
			if len(up) > mostUp-starts || random.IntN(10) == 0 {
				_, err := service.Release(w.Context(), claim.Holder{Namespace: "games", Pod: pod, UID: c.PodUID}, api.ReleaseRequest{ClaimUID: c.UID})
				w.must(err)
				delete(up, pod)
				delete(w.pods, pod)
			}
		}
		w.must(w.janitor.Sweep(w.Context()))
		w.audit()
		w.now = w.now.Add(step)
		if largest = max(largest, len(w.ledger.Ports.List())); largest > most {
			t.Fatalf("after %v there are %d port leases, want at most %d: %d pods are up, and %d start in a day",
				time.Duration(n)*step, largest, most, len(up), starts*int(24*time.Hour/step))
		}
	}
	t.Logf("%d pods in a year used %d ports; at most %d port leases at a time", int(steps)*starts, len(last), largest)
	for _, r := range w.ledger.Ports.List() {
		if r.Value.LoadBalancerARN == w.loadBalancers[1] {
			t.Errorf("half a year after its load balancer was removed there is %s", r.Name)
		}
	}
}

// pools gives the load balancers to a pool with 1,000 ports.
func (w *account) pools(loadBalancers []string) {
	w.Helper()
	w.stock.SetPools([]poolfile.Pool{{
		Name: "default", LoadBalancers: loadBalancers, Ranges: []pool.Range{{From: 30000, To: 30999}},
		Terms: pool.Terms{Protocols: []api.Protocol{api.TCP}, Cooldown: 2 * time.Minute, Sticky: 10 * time.Minute},
	}})
	w.must(w.stock.Describe(w.Context()))
}

// unlimited is an AWS budget that grants everything.
type unlimited struct{}

func (unlimited) Bind(context.Context, ledger.Record[ledger.Claim], []ledger.Port, int) (time.Duration, error) {
	return 0, nil
}

func (unlimited) ReserveDescribes(_ context.Context, calls int) (int, time.Duration, error) {
	return calls, 0, nil
}
func (unlimited) TryOpportunistic(context.Context, string, int) (bool, error) { return true, nil }
func (unlimited) Deregister(context.Context, string, int, int) (bool, error)  { return true, nil }
func (unlimited) Throttled(context.Context, string, int) error                { return nil }

// service grants the account's ports.
func (w *account) service() *claim.Service {
	epochs := 0
	return claim.New(claim.Config{
		Both:   claim.AtOnce,
		Ledger: auditLedger, Claims: w.claims, Ports: w.ports, Pools: w.stock, TargetGroupName: elb.TargetGroupName,
		GetPod:   func(_ context.Context, _, pod string) (*ledger.Pod, error) { return w.pods[pod], nil },
		Duration: claimDuration, RenewEvery: claimDuration / 4, UnbindEvery: func() time.Duration { return time.Second }, ReturnPatience: time.Minute, Budget: unlimited{}, Age: w.janitor.Observer.Age,
		NewEpoch: func() string { epochs++; return fmt.Sprint("epoch-", epochs) },
		Count:    func(string, string) {}, Passed: func(string, string, time.Duration) {}, Now: func() time.Time { return w.now }, WakeJanitor: func() {}, Log: slog.New(slog.DiscardHandler),
	})
}
