package pacer_test

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWaitForDescribesWaitsForItsTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		start := time.Now()
		if err := r.WaitForDescribes(t.Context(), 30); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2900*time.Millisecond || took > 6*time.Second {
			t.Errorf("30 calls of an empty bucket took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.WaitForDescribes(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestReserveDescribesGrantsAFewCallsOrAHint(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		before, _ := r.Left()
		if paid, wait, err := r.ReserveDescribes(t.Context(), 3); paid != 3 || wait != 0 || err != nil {
			t.Fatalf("granted %d, wait %v, %v", paid, wait, err)
		}
		if after, _ := r.Left(); before.Tokens.All-after.Tokens.All != 3 {
			t.Errorf("it cost %v", before.Tokens.Minus(after.Tokens))
		}
		if paid, _, err := r.ReserveDescribes(t.Context(), 100); paid != r.Limits().MaxDescribes() || err != nil {
			t.Errorf("%d of 100 calls were granted, %v", paid, err)
		}
		for range 100 {
			paid, wait, err := r.ReserveDescribes(t.Context(), 1)
			if err != nil || (paid == 0) != (wait > 0) {
				t.Fatalf("granted %d, wait %v, %v", paid, wait, err)
			}
			if paid > 0 {
				continue
			}
			time.Sleep(wait) // in the bubble
			if paid, wait, err = r.ReserveDescribes(t.Context(), 1); paid != 1 {
				t.Errorf("after its wait %d are granted, and it must wait %v more, %v", paid, wait, err)
			}
			return
		}
		t.Error("a hundred calls at once were granted")
	})
}

// Target health is worth a call only if nobody else needs it.
func TestDescribesAreOpportunisticOnlyWhileTheBudgetIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		i.fill(r)
		for n, want := range []bool{true, false} {
			if granted, err := r.TryDescribes(t.Context(), 10); err != nil || granted != want {
				t.Errorf("attempt %d: were granted %v, %v", n+1, granted, err)
			}
		}
		time.Sleep(5 * time.Second) // in the bubble: it is full again
		if granted, err := r.TryDescribes(t.Context(), 10); err != nil || !granted {
			t.Errorf("with a full bucket: granted %v, %v", granted, err)
		}
	})
}
