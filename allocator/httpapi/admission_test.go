package httpapi_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// TestOverloadIsRefusedAndProbesAreNot fills the allocator with calls that do not end.
func TestOverloadIsRefusedAndProbesAreNot(t *testing.T) {
	const working, queued = 112, 1024
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		free := make(chan struct{})
		w.do = func(ctx context.Context) error {
			select {
			case <-free:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var wait sync.WaitGroup
		var mu sync.Mutex
		answers := make(map[int]int) // status → how many
		answered := func(status int) int {
			mu.Lock()
			defer mu.Unlock()
			return answers[status]
		}
		call := func(pod string) {
			out := w.from(t, addressOf(pod), "DELETE", api.ClaimPath("games", pod), pod)
			mu.Lock()
			defer mu.Unlock()
			answers[out.Code]++
		}
		for n := range working + queued {
			wait.Go(func() { call(podNumber(n)) })
		}
		synctest.Wait()
		start := time.Now()
		call("one-more")
		if took := time.Since(start); answered(http.StatusServiceUnavailable) != 1 || took > 0 {
			t.Errorf("one more was not refused at once, but after %v", took)
		}
		if out := w.ask(t, "GET", "/livez", "", http.NoBody); out.Code != http.StatusOK {
			t.Errorf("the probe: %d", out.Code)
		}
		// One place comes free: a queued call gets it.
		free <- struct{}{}
		synctest.Wait()
		if answered(http.StatusNoContent) != 1 || answered(http.StatusServiceUnavailable) != 1 {
			t.Errorf("after one has ended: %d fine, %d refused", answered(http.StatusNoContent), answered(http.StatusServiceUnavailable))
		}
		time.Sleep(2 * time.Second) // fake, and just as long as a call may queue
		synctest.Wait()
		if got := answered(http.StatusServiceUnavailable); got != 1+queued-1 {
			t.Errorf("after the queue's time %d were refused", got)
		}
		close(free)
		wait.Wait()
		if got := answered(http.StatusNoContent); got != working+1 {
			t.Errorf("%d were served", got)
		}
		if out := w.ask(t, "GET", api.PathPools, "admin", http.NoBody); out.Code != http.StatusOK {
			t.Errorf("after the flood: %d %s", out.Code, out.Body)
		}
	})
}

func podNumber(n int) string { return fmt.Sprintf("game-%d", 1000+n) }

// addressOf is where a pod calls from.
func addressOf(pod string) string {
	sum := sha256.Sum256([]byte(pod))
	return fmt.Sprintf("10.%d.%d.%d:1234", sum[0], sum[1], sum[2])
}

func TestCallerThatGoesAwayLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		free := make(chan struct{})
		w.do = func(context.Context) error { <-free; return nil }
		var wait sync.WaitGroup
		for n := range 112 {
			wait.Go(func() {
				w.from(t, addressOf(podNumber(n)), "DELETE", api.ClaimPath("games", podNumber(n)), podNumber(n))
			})
		}
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		wait.Go(func() {
			r := httptest.NewRequestWithContext(ctx, "DELETE", path, http.NoBody)
			r.Header.Set("Authorization", "Bearer "+tokenOf("game-0"))
			out := w.serve(t, r)
			problem(t, "the caller that went away", out, api.Unavailable)
			if out.Header().Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q", out.Header().Get("Retry-After"))
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(free)
		wait.Wait()
		if w.reviews["game-0"] != 0 {
			t.Error("a call was made for a caller that went away")
		}
	})
}
