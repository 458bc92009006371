package claim_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// slowWrite is how long a write takes in these tests.
const slowWrite = 10 * time.Millisecond

// slowBudget is a budget whose write takes a while. It notes the ports that it was asked for.
type slowBudget struct {
	plenty
	asked     [][]ledger.Port
	throttled int
}

func (b *slowBudget) Bind(_ context.Context, _ ledger.Record[ledger.Claim], ports []ledger.Port, throttled int) (time.Duration, error) {
	time.Sleep(slowWrite)
	b.asked, b.throttled = append(b.asked, ports), b.throttled+throttled
	return 0, nil
}

func (b *slowBudget) Throttled(_ context.Context, _ string, calls int) error {
	b.throttled += calls
	return nil
}

// slowClaims is a table of claims whose updates take a while.
type slowClaims struct{ ledgermem.ClaimTable }

func (s slowClaims) Update(ctx context.Context, r ledger.Record[ledger.Claim]) (ledger.Record[ledger.Claim], error) {
	time.Sleep(slowWrite)
	return s.ClaimTable.Update(ctx, r)
}

// slowPorts is a table of ports whose reads take a while.
type slowPorts struct{ *ledgermem.Table[ledger.Port] }

func (s slowPorts) Get(ctx context.Context, name string) (ledger.Record[ledger.Port], error) {
	time.Sleep(slowWrite)
	return s.Table.Get(ctx, name)
}

// A pod's start waits for each of these calls.
func TestBudgetIsAskedWhileTheLedgerIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		pay := new(slowBudget)
		w.service.Budget = pay
		w.service.Claims, w.service.Ports = slowClaims{w.claims}, slowPorts{w.ports}
		start := time.Now()
		c, err := w.claim("a", "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != slowWrite {
			t.Errorf("the grant and the budget took %v together, want %v", took, slowWrite)
		}
		w.recordTargetGroup(c)
		start = time.Now()
		if _, err := w.renew(c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != slowWrite {
			t.Errorf("reading the port and the budget took %v together, want %v", took, slowWrite)
		}
		if len(pay.asked) != 2 {
			t.Errorf("the budget was asked %d times, want twice", len(pay.asked))
		}
	})
}

// recordTargetGroup reports the target group of a claim's first port.
func (w *world) recordTargetGroup(c api.Claim) {
	w.Helper()
	p := c.Ports[0]
	report := api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: targetGroupARN(p)}
	if err := w.service.TargetGroup(w.Context(), holderOf(c.Pod), report); err != nil {
		w.Fatal(err)
	}
}

// The cache does not show the target group yet when the budget is asked. Those calls are paid
// for, but the next ones are those for the listener.
func TestBudgetIsAskedAgainAfterAStaleRead(t *testing.T) {
	w := newWorld(t, 2)
	pay := new(slowBudget)
	w.service.Budget = pay
	w.service.Both = func(ctx context.Context, ledger, budget func(context.Context)) {
		budget(ctx)
		ledger(ctx)
	}
	c, err := w.claim("a", "10.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	w.recordTargetGroup(c)
	pay.asked = nil
	w.stalePort(c.Ports[0].Fence.Lease, func(p *ledger.Port) { p.TargetGroupARN = "" })
	renewal := api.RenewRequest{ClaimUID: c.UID, PodIP: c.PodIP, Pool: c.Pool, Ports: c.Ports, Throttled: 3}
	if _, err := w.service.Renew(t.Context(), holderOf("a"), renewal); err != nil {
		t.Fatal(err)
	}
	if n := len(pay.asked); n != 2 || pay.asked[n-1][0].TargetGroupARN == "" || pay.throttled != 3 {
		t.Errorf("the budget was asked %d times, for %+v, and told of %d throttled calls; want 2, the second time with the target group, and 3", n, pay.asked, pay.throttled)
	}
}

// A renewal has nothing to record in a claim that was just written. It reads it all the same: it
// may have been deleted.
func TestRenewalOfANewClaimIsARead(t *testing.T) {
	w := newWorld(t, 2)
	c := w.bind("a", "10.0.0.1")
	renew := func() int {
		before := w.ledger.Claims.Writes()
		answer, err := w.renew(c)
		if err != nil {
			t.Fatal(err)
		}
		c = answer.Claim
		return w.ledger.Claims.Writes() - before
	}
	renew() // records that the ports are bound
	w.sweepFor(time.Second)
	if n := renew(); n != 0 {
		t.Errorf("a renewal after seconds wrote the claim %d times", n)
	}
	w.now = w.now.Add(claimDuration / 8)
	if n := renew(); n != 1 {
		t.Errorf("a renewal after half of the interval wrote the claim %d times, want once", n)
	}
	before := w.claimLease("a")
	w.loseClaim("a")
	w.claims.Show(before)
	if n := renew(); n == 0 || c.UID == before.UID {
		t.Errorf("a claim that was deleted was not adopted but renewed, with %d writes", n)
	}
}
