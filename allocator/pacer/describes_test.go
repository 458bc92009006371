package pacer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
)

func TestWaitForDescribeWaitsForItsToken(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		r := i.replica()
		start := time.Now()
		for range 30 {
			if err := r.WaitForDescribe(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 2900*time.Millisecond || took > 4*time.Second {
			t.Errorf("30 calls of an empty bucket took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		for n := 0; n < 100 && err == nil; n++ {
			err = r.WaitForDescribe(ctx, nil)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// TestFollowersLeaveHalfOfTheBucketsToTheLeader: the leader takes all that the bucket
// regains, and the follower gets calls once the leader is done, or once it no longer
// follows.
func TestFollowersLeaveHalfOfTheBucketsToTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		leader, follower := i.replica(), i.replica()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		follows := true
		got := make(chan struct{}, 1000)
		go func() {
			for follower.WaitForDescribe(ctx, func() bool { return follows }) == nil {
				got <- struct{}{}
			}
		}()
		start := time.Now()
		for range 100 {
			if err := leader.WaitForDescribe(ctx, nil); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 11*time.Second || len(got) > 0 {
			t.Errorf("the leader's 100 calls took %v, and the follower got %d", took, len(got))
		}
		time.Sleep(10 * time.Second) // in the bubble
		if n := len(got); n < 80 || n > 90 {
			t.Errorf("the follower got %d calls in the 10 s after the leader, want those beyond half of the bucket", n)
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

// TestDescribesLeaveListenersTheirTokens: pods ask one replica for Describe calls all the
// time, while a claim asks another for the calls of its listener, which need several tokens at
// once.
func TestDescribesLeaveListenersTheirTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, i *installation) {
		busy, r := i.replica(), i.replica()
		i.fill(r)
		c := i.claim(1)
		i.change(c, func(p *ledger.Port) { p.TargetGroupARN = "tg" })
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		for range 50 {
			all.Go(func() {
				for ctx.Err() == nil {
					if _, _, err := busy.ReserveDescribes(ctx, 1); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					time.Sleep(100 * time.Millisecond) // in the bubble
				}
			})
		}
		time.Sleep(10 * time.Second) // in the bubble
		start := time.Now()
		for wait := i.bind(r, c); wait > 0; wait = i.bind(r, c) {
			if time.Since(start) > 5*time.Second {
				left, _ := r.Left()
				t.Fatalf("it still waits %v for %+v", wait, left.Tokens)
			}
			time.Sleep(wait)
		}
	})
}
