package pacer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/budget"
)

// TestWhoGivesUpFailsNobody ends the context of the one in whose name the write
// is made, while it is on its way.
func TestWhoGivesUpFailsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		i.budgets.flight = time.Second
		var all sync.WaitGroup
		first, one, two := i.claim(1), i.claim(1), i.claim(1)
		all.Go(func() { i.bind(r, first) }) // holds up the others, who are decided together
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := r.Bind(ctx, one, i.portsOf(one), 0); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if wait := i.bind(r, two); wait != 0 {
				t.Errorf("it waits %v", wait)
			}
		})
		time.Sleep(1500 * time.Millisecond) // of the bubble's clock
		before := i.ledger.Budgets.Writes()
		cancel()
		all.Wait()
		if n := i.ledger.Budgets.Writes() - before; n != 1 {
			t.Errorf("%d writes for both", n)
		}
	})
}

// TestTimeIsCountedOnce: of all who are decided together only the first brings the
// time that has passed.
func TestTimeIsCountedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		for range 20 { // empties the bucket
			if c := i.claim(1); i.bind(r, c) > 0 {
				i.remove(c)
			}
		}
		left, _ := r.Left()
		start := time.Now()
		i.budgets.flight = 2 * time.Second
		var mu sync.Mutex
		letGo := 0
		var all sync.WaitGroup
		all.Go(func() {
			if err := r.WaitForDescribes(t.Context(), 1); err != nil { // holds up the others
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 20 {
			c := i.claim(1)
			all.Go(func() {
				if i.bind(r, c) == 0 {
					mu.Lock()
					defer mu.Unlock()
					letGo++
				}
			})
		}
		all.Wait()
		most := (left.Tokens.Mutating + time.Since(start).Seconds()*budget.Default().Mutating.PerSecond) / budget.CreateCost.Mutating
		if letGo == 0 || float64(letGo) > most {
			t.Errorf("%d were let go, there were tokens for %.1f", letGo, most)
		}
	})
}

// TestSlowWritesLoseNothing has an API server that takes a second for each write:
// its writer counts from before it sent it.
func TestSlowWritesLoseNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		i.budgets.flight, i.budgets.answer = time.Second, 2*watchLag
		start, calls := time.Now(), 0
		for time.Since(start) < time.Minute {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if err := r.WaitForDescribes(t.Context(), 1); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			calls += 20
		}
		if most := time.Since(start).Seconds() * budget.Default().All.PerSecond; float64(calls) < 0.9*most {
			t.Errorf("%d calls were paid for, there were tokens for %.0f", calls, most)
		}
	})
}
