package pacer_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// oneStep is the speed after the first cut.
const oneStep = 3. / 4

// speed is the speed that a replica knows of.
func speed(t *testing.T, r *replica) float64 {
	t.Helper()
	left, ok := r.Left()
	if !ok {
		t.Fatal("the replica has not seen the budget")
	}
	return left.Speed()
}

// report lets a claim ask for calls and report that AWS throttled one.
func (i *installation) report(r *replica, c ledger.Record[ledger.Claim]) {
	i.t.Helper()
	if _, err := r.Bind(i.t.Context(), c, i.portsOf(c), 1); err != nil {
		i.t.Fatal(err)
	}
}

// TestReportWithoutPaidCallsIsIgnored: whoever has no calls that the budget paid for
// cannot have been throttled.
func TestReportWithoutPaidCallsIsIgnored(t *testing.T) {
	for name, asksAgain := range map[string]bool{"it was granted nothing": false, "all its ports are bound": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *installation) {
				r := i.replica()
				i.fill(r)
				c := i.claim(1)
				if asksAgain {
					i.bind(r, c)
					i.bound(c)
				}
				before, _ := r.Left()
				for range 20 {
					if err := r.Throttled(t.Context(), c.Name, 1000); err != nil {
						t.Fatal(err)
					}
					if asksAgain {
						i.report(r, c)
					}
					time.Sleep(10 * time.Second) // in the bubble
				}
				if after, _ := r.Left(); after.Speed() != 1 || before.Tokens.Mutating-after.Tokens.Mutating > budget.CreateCost.Mutating {
					t.Errorf("the speed is %v, left are %+v", after.Speed(), after.Tokens)
				}
				if i.count("report ignored") < 20 || i.count("report believed") > 0 {
					t.Errorf("%d reports were ignored, %d believed", i.count("report ignored"), i.count("report believed"))
				}
			})
		})
	}
}

// TestOneHolderAloneSlowsByOneStep: a pod that binds nothing, and reports after every
// grant, costs the others a quarter of the speed at most.
func TestOneHolderAloneSlowsByOneStep(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		c := i.claim(1)
		emptied := 0
		for range 60 {
			i.bind(r, c)
			before, _ := r.Left()
			i.report(r, c)
			if after, _ := r.Left(); before.Tokens.Mutating-after.Tokens.Mutating > budget.CreateCost.Mutating {
				emptied++
			}
			if got := speed(t, r); got < oneStep-1e-6 {
				t.Fatalf("the speed fell to %v", got)
			}
			time.Sleep(6 * time.Second) // in the bubble
		}
		if emptied > 12+1 {
			t.Errorf("the buckets were emptied %d times in six minutes", emptied)
		}
	})
}

// TestSeveralHoldersSlowFurther: they were granted calls, and have begun to make them or
// not.
func TestSeveralHoldersSlowFurther(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		for n := range 8 {
			c := i.claim(1)
			for i.bind(r, c) > 0 {
				time.Sleep(time.Second) // in the bubble
			}
			if n%2 == 0 {
				i.change(c, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
			}
			i.report(r, c)
			time.Sleep(5 * time.Second) // in the bubble
		}
		if got := speed(t, r); got > oneStep*oneStep {
			t.Errorf("the speed is %v after the reports of eight holders", got)
		}
	})
}
