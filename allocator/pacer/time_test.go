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

// The first request of a batch is canceled while the batch is written.
func TestRequestThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		i.budgets.flight = time.Second
		var all sync.WaitGroup
		first, one, two := i.claim(1), i.claim(1), i.claim(1)
		all.Go(func() { i.bind(r, first) }) // delays the others, which become one batch
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
		time.Sleep(1500 * time.Millisecond) // in the bubble
		before := i.ledger.Budgets.Writes()
		cancel()
		all.Wait()
		if n := i.ledger.Budgets.Writes() - before; n != 1 {
			t.Errorf("%d writes for both", n)
		}
	})
}

func TestElapsedTimeIsCountedOncePerBatch(t *testing.T) {
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
		granted := 0
		var all sync.WaitGroup
		all.Go(func() {
			if err := r.WaitForDescribe(t.Context(), nil); err != nil { // delays the others
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
					granted++
				}
			})
		}
		all.Wait()
		most := (left.Tokens.Mutating + time.Since(start).Seconds()*budget.Default().Mutating.PerSecond) / budget.CreateCost.Mutating
		if granted == 0 || float64(granted) > most {
			t.Errorf("%d were granted, there were tokens for %.1f", granted, most)
		}
	})
}

// The API server takes a second for each write. A writer counts the time from before it
// sent the write.
func TestSlowWritesLoseNoRefill(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		i.budgets.flight, i.budgets.answer = time.Second, 2*watchLag
		start, calls := time.Now(), 0
		for time.Since(start) < time.Minute {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if err := r.WaitForDescribe(t.Context(), nil); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			calls += 20
		}
		if most := time.Since(start).Seconds() * budget.Default().All.PerSecond; float64(calls) < 0.9*most {
			t.Errorf("%d calls were granted, there were tokens for %.0f", calls, most)
		}
	})
}
