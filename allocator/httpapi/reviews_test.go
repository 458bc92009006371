package httpapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// jwt is a token of pod game-0 with a payload.
func jwt(payload string) string {
	return "game-0." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".signature"
}

func TestAReviewIsNotBelievedPastTheTokensExpiry(t *testing.T) {
	for _, test := range []struct {
		name  string
		token func(now time.Time) string
		// believed is for how long.
		believed time.Duration
	}{
		{"long to go", func(now time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, now.Unix()+3600)) }, 35 * time.Second},
		{"three seconds to go", func(now time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, now.Unix()+3)) }, 3 * time.Second},
		{"over, by a clock that is fast", func(now time.Time) string { return jwt(fmt.Sprintf(`{"exp":%d}`, now.Unix()-1)) }, 0},
		{"an exponent", func(time.Time) string { return jwt(`{"exp":1e300}`) }, 35 * time.Second},
		{"no expiry", func(time.Time) string { return jwt(`{}`) }, 35 * time.Second},
		{"no JSON", func(time.Time) string { return jwt(`nonsense`) }, 35 * time.Second},
		{"an expiry of another kind", func(time.Time) string { return jwt(`{"exp":"soon"}`) }, 35 * time.Second},
		{"no JWT", func(time.Time) string { return "game-0" }, 35 * time.Second},
	} {
		w := newWorld()
		w.now = w.now.Truncate(time.Second) // an expiry has whole seconds
		token := test.token(w.now)
		ask := func() {
			if out := w.ask(t, "DELETE", path, token, http.NoBody); out.Code != http.StatusNoContent {
				t.Fatalf("%s: %d %s", test.name, out.Code, out.Body)
			}
		}
		ask()
		w.now = w.now.Add(test.believed - 1)
		if ask(); test.believed > 0 && w.reviews[token] != 1 {
			t.Errorf("%s: asked again before %v", test.name, test.believed)
		}
		w.now = w.now.Add(1)
		before := w.reviews[token]
		if ask(); w.reviews[token] != before+1 {
			t.Errorf("%s: believed for longer than %v", test.name, test.believed)
		}
	}
}

// TestAPersonsReviewIsBelievedShortly, because people's tokens are revoked.
func TestAPersonsReviewIsBelievedShortly(t *testing.T) {
	w := newWorld()
	for n, after := range []time.Duration{0, 10*time.Second - 1, 1} {
		w.now = w.now.Add(after)
		if out := w.ask(t, "GET", api.PathPools, "person", http.NoBody); out.Code != http.StatusOK {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
		if want := 1 + n/2; w.reviews["person"] != want {
			t.Errorf("ask %d: reviewed %d times, want %d", n, w.reviews["person"], want)
		}
	}
}

func TestTheMemoryOfReviewsIsBounded(t *testing.T) {
	w := newWorld()
	const bound = 4096
	w.finish(t, "first")
	w.finish(t, "second")
	for i := range bound - 2 {
		w.finish(t, fmt.Sprintf("pod-%d", i))
	}
	w.finish(t, "first")
	w.finish(t, "one-too-many")
	for pod, want := range map[string]int{"first": 1, "second": 2, "pod-7": 1} {
		if w.finish(t, pod); w.reviews[pod] != want {
			t.Errorf("%s was reviewed %d times, want %d", pod, w.reviews[pod], want)
		}
	}
}

// TestManyWhoAskForOneTokenAreOneQuestion, and the first of them may go away.
func TestManyWhoAskForOneTokenAreOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.reviewing = make(chan struct{})
		var wait sync.WaitGroup
		statuses := make([]int, 50)
		first, leave := context.WithCancel(t.Context())
		for n := range statuses {
			ctx := t.Context()
			if n == 0 {
				ctx = first
			}
			wait.Go(func() {
				r := httptest.NewRequestWithContext(ctx, "DELETE", path, http.NoBody)
				r.Header.Set("Authorization", "Bearer game-0")
				statuses[n] = w.serve(t, r).Code
			})
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		if statuses[0] != http.StatusServiceUnavailable {
			t.Errorf("who went away was answered %d", statuses[0])
		}
		close(w.reviewing)
		wait.Wait()
		for n, status := range statuses[1:] {
			if status != http.StatusNoContent {
				t.Errorf("caller %d was answered %d", n+1, status)
			}
		}
		if w.reviews["game-0"] != 1 {
			t.Errorf("the API server was asked %d times", w.reviews["game-0"])
		}
	})
}

// TestAReviewThatHangsIsGivenUp: whoever comes next asks anew.
func TestAReviewThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.reviewing = make(chan struct{})
		start := time.Now()
		problem(t, "a review that hangs", w.ask(t, "DELETE", path, "game-0", http.NoBody), api.Unavailable)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("given up after %v", took)
		}
		close(w.reviewing)
		w.finish(t, "game-0")
	})
}

// TestATokenIsGoodForOneKindOfCall: a pod's is made for this allocator, a
// person's for the API server, and neither is remembered as the other.
func TestATokenIsGoodForOneKindOfCall(t *testing.T) {
	w := newWorld()
	w.finish(t, "person")
	w.refuse = api.Errorf(api.Unauthenticated, "wrong audience")
	problem(t, "a person's call with a pod's token", w.ask(t, "GET", api.PathPools, "person", http.NoBody), api.Unauthenticated)
}
