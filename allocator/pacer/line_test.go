package pacer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/ledgermem"
	"github.com/portlease/portlease/shared/api"
)

// TestLineFollowsTheCache changes claims and ports at random. The line must have what one
// that is built anew has.
func TestLineFollowsTheCache(t *testing.T) {
	const claims, ports = 5, 8
	r := rand.New(rand.NewPCG(1, 2))
	l := ledgermem.New()
	config := Config{
		Claims: ledgermem.NewClaimTable(l.Claims, ledgermem.Direct, nil),
		Ports:  ledgermem.NewTable(l.Ports, ledgermem.Direct, nil),
		Now:    time.Now,
	}
	claim := func(i int) string { return ledger.ClaimName(fmt.Sprint(i)) }
	fence := func(port int) api.Fence {
		return api.Fence{Lease: fmt.Sprint("lb-", port), Epoch: "e", Generation: r.IntN(2)}
	}
	followed := New(config)
	sizes := make(map[int]bool)
	for step := range 5000 {
		switch name, port := claim(r.IntN(claims)), fence(r.IntN(ports)); r.IntN(8) {
		case 0:
			l.Claims.Remove(name)
		case 1:
			l.Ports.Remove(port.Lease)
		case 2, 3:
			holder := claim(r.IntN(claims))
			if plan := l.Claims.Value(name).Ports; len(plan) > 0 && r.IntN(4) > 0 {
				holder, port = name, plan[r.IntN(len(plan))].Fence
			}
			states := []ledger.PortState{ledger.Claimed, ledger.Claimed, ledger.Bound, ledger.Releasing, ledger.Free}
			to := ledger.Port{
				State: states[r.IntN(len(states))], Holder: holder, Epoch: port.Epoch, Generation: port.Generation,
				TargetGroupARN: []string{"", "tg"}[r.IntN(2)],
			}
			l.Ports.Change(port.Lease, func(p *ledger.Port) { *p = to })
		default:
			c := ledger.Claim{State: []ledger.ClaimState{ledger.Waiting, ledger.Granted, ledger.Granted, ledger.Granted, ledger.ClaimReleasing}[r.IntN(5)]}
			for range 1 + r.IntN(2) {
				c.Ports = append(c.Ports, ledger.PlannedPort{Fence: fence(r.IntN(ports))})
			}
			if r.IntN(8) == 0 {
				c.Retries = ledger.Retries{Failing: true, Intervals: r.IntN(2)}
			}
			l.Claims.Change(name, func(now *ledger.Claim) { *now = c })
		}
		if r.IntN(3) == 0 {
			continue // several changes come together
		}
		followed.follow()
		fresh := New(config)
		fresh.follow()
		if diff := cmp.Diff(inLine(fresh), inLine(followed)); diff != "" {
			t.Fatalf("step %d: want -, got +:\n%s", step, diff)
		}
		sizes[len(fresh.line.oldestFirst)] = true
	}
	if len(sizes) < 4 {
		t.Errorf("the line was of so many lengths only: %v", sizes)
	}
}

// present is what shows of a claim in the line.
type present struct {
	Claim, Version string
	Cost, Before   budget.Tokens
	Failing        bool
}

func inLine(p *Pacer) (all []present) {
	for _, w := range p.line.oldestFirst {
		all = append(all, present{w.claim, w.record.Version, w.cost, w.before, w.record.Value.Retries.Failing})
	}
	if len(p.line.byClaim) != len(all) {
		panic("a claim is in one part of the line only")
	}
	return all
}
