package pacer_test

import (
	"errors"
	"testing"

	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/ledger"
)

// The write succeeded, but its writer got an error.
func TestWriteWithUnknownOutcomeIsNotPaidForTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		c := i.claim(1)
		lost := errors.New("connection reset")
		i.budgets.fault = func() (bool, error) { return true, lost }
		if _, err := r.Bind(t.Context(), c, i.portsOf(c), 0); !errors.Is(err, lost) {
			t.Fatalf("got %v", err)
		}
		i.budgets.fault = nil
		before := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating
		if wait := i.bind(i.replica(), c); wait != 0 {
			t.Errorf("it waits %v", wait)
		}
		if after := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating; after < before {
			t.Errorf("it paid again: %v, then %v", before, after)
		}
		i.budgets.fault = func() (bool, error) { return false, lost }
		if now, err := r.delete(t.Context(), "lb-1"); now || !errors.Is(err, lost) {
			t.Errorf("a deletion that was not written: %v, %v", now, err)
		}
	})
}

// The refund needs fresh reads that show nothing recorded.
func TestTokensOfAnAbandonedPermitAreRefunded(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*installation, ledger.Record[ledger.Claim])
		back float64
	}{
		"claim gone":      {func(i *installation, c ledger.Record[ledger.Claim]) { i.remove(c) }, 1},
		"claim releasing": {func(i *installation, c ledger.Record[ledger.Claim]) { end(i, c) }, 1},
		"target group recorded, then releasing": {func(i *installation, c ledger.Record[ledger.Claim]) {
			i.change(c, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
			end(i, c)
		}, 0},
		"its attempt failed": {func(i *installation, c ledger.Record[ledger.Claim]) { fail(i, c) }, 1},
		"target group recorded, then its attempt failed": {func(i *installation, c ledger.Record[ledger.Claim]) {
			i.change(c, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
			fail(i, c)
		}, 0},
		"alive": {func(*installation, ledger.Record[ledger.Claim]) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, i *installation) {
				r := i.replica()
				i.fill(r)
				var claims []ledger.Record[ledger.Claim]
				for range 3 {
					claims = append(claims, i.claim(2))
					if wait := i.bind(r, claims[len(claims)-1]); wait != 0 {
						t.Fatalf("it waits %v", wait)
					}
				}
				before := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating
				c.end(i, claims[1])
				if now, err := r.delete(t.Context(), "lb"); !now || err != nil {
					t.Fatal(now, err)
				}
				got := i.ledger.Budgets.Value(ledger.BudgetName).Tokens.Mutating - (before - budget.DeletionCost.Mutating)
				if got < c.back-1e-6 || got > c.back+1e-6 {
					t.Errorf("%v tokens came back, want %v", got, c.back)
				}
			})
		})
	}
}

func end(i *installation, c ledger.Record[ledger.Claim]) {
	i.ledger.Claims.Change(c.Name, func(c *ledger.Claim) { c.State = ledger.ClaimReleasing })
}

func fail(i *installation, c ledger.Record[ledger.Claim]) {
	i.ledger.Claims.Change(c.Name, func(c *ledger.Claim) { c.Retries = c.Retries.Renewed(true, false, false) })
}
