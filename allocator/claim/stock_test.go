package claim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
)

// TestRememberedStockIsThatOfNow changes ledger, pool and time at random. A plan with
// remembered stocks must be the plan without them.
func TestRememberedStockIsThatOfNow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	g := newGiven(t)
	g.pool.LoadBalancers = append(g.pool.LoadBalancers, loadBalancer(lb2))
	g.time = time.Unix(1000, 0)
	since := make(map[string]time.Time)
	g.age = func(name, _ string) time.Duration { return g.time.Sub(since[name]) }
	var memory stocks
	granted, refused := 0, 0
	for step := range 5000 {
		lb := &g.pool.LoadBalancers[r.IntN(2)]
		switch r.IntN(12) {
		case 0:
			lb.Listed = nil
			if r.IntN(2) == 0 {
				lb.Listed = []pool.Listed{{Port: 1 + r.IntN(3)}}
			}
		case 1:
			lb.Limit = r.IntN(5)
		case 2:
			lb.Ranges = []pool.Range{{From: 1, To: 1 + r.IntN(4)}}
		case 3:
			g.pool.Terms.Sticky = time.Duration(r.IntN(2)) * time.Minute
		case 4, 5:
			g.time = g.time.Add(time.Duration(r.IntN(40)) * time.Second)
		default:
			text := fmt.Sprintf("lb-%d-%d e/%d", 1+r.IntN(2), 1+r.IntN(4), 1+r.IntN(3))
			if r.IntN(3) == 0 {
				g.tables.ports.Remove(fence(text).Lease)
				break
			}
			states := []ledger.PortState{ledger.Free, ledger.Free, ledger.Bound, ledger.Cooldown, ledger.Releasing, ""}
			g.port(text, ledger.Port{State: states[r.IntN(len(states))], Namespace: "games", Pod: string(rune('b' + r.IntN(2)))}, 0)
			since[fence(text).Lease] = g.time
		}
		g.claim.Value.PodUID, g.claim.Value.Pod = fmt.Sprint("uid-", step), "pod-"+string(rune('a'+r.IntN(3)))
		g.requests(1 + r.IntN(2))
		remembering := g.situation
		remembering.stocks = &memory
		want, got := makePlan(g.situation), makePlan(remembering)
		if want.changes {
			granted++
		} else {
			refused++
		}
		if diff := cmp.Diff(outcome(want), outcome(got)); diff != "" {
			t.Fatalf("step %d: it chose otherwise than without memory (-), with (+):\n%s", step, diff)
		}
	}
	if granted < 500 || refused < 500 {
		t.Errorf("the situations are one-sided: %d plans, %d refusals", granted, refused)
	}
}
