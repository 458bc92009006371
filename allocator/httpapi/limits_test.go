package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api"
)

// from asks from an address, with the token of a name.
func (w *world) from(t *testing.T, address, method, path, name string) *httptest.ResponseRecorder {
	t.Helper()
	r := newRequest(t, method, path)
	r.RemoteAddr = address
	r.Header.Set("Authorization", "Bearer "+tokenOf(name))
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.1.2.%d", len(w.observed)%250)) // headers of the caller are ignored
	return w.serve(t, r)
}

func TestEachCallerHasItsOwnRateLimit(t *testing.T) {
	for _, test := range []struct {
		method, path, token string
		ok                  int
		// burst, and how many more in each second.
		burst, rate int
		// other is a call of somebody else.
		other func(*world, *testing.T) int
	}{
		{"DELETE", path, "game-0", http.StatusNoContent, 2*api.MaxPorts + 20, 5, func(w *world, t *testing.T) int {
			return w.ask(t, "DELETE", api.ClaimPath("games", "game-1"), "game-1", http.NoBody).Code - http.StatusNoContent
		}},
		{"GET", api.PathPools, "admin", http.StatusOK, 10 * api.MaxPorts, 50, func(w *world, t *testing.T) int {
			return w.ask(t, "GET", api.PathPools, "somebody", http.NoBody).Code - http.StatusForbidden
		}},
	} {
		w := newWorld()
		ask := func() *httptest.ResponseRecorder { return w.ask(t, test.method, test.path, test.token, http.NoBody) }
		refused := func(what string) {
			t.Helper()
			out := ask()
			problem(t, what, out, api.RateLimited)
			if after, err := strconv.Atoi(out.Header().Get("Retry-After")); err != nil || after != 1 {
				t.Errorf("%s: Retry-After is %q", what, out.Header().Get("Retry-After"))
			}
		}
		spend := func(n int) {
			t.Helper()
			for i := range n {
				if out := ask(); out.Code != test.ok {
					t.Fatalf("call %d of %s: %d %s", i, test.token, out.Code, out.Body)
				}
			}
		}
		spend(test.burst)
		refused("over the burst")
		if wrong := test.other(w, t); wrong != 0 {
			t.Errorf("somebody else is held up too")
		}
		w.now = w.now.Add(time.Second)
		spend(test.rate)
		refused("over the rate")
		w.now = w.now.Add(time.Hour)
		spend(test.burst)
		refused("over the burst again")
	}
}

func TestForbiddenCallsCountToo(t *testing.T) {
	w := newWorld()
	for range 2*api.MaxPorts + 20 {
		problem(t, "another's claim", w.ask(t, "DELETE", api.ClaimPath("games", "game-1"), "game-0", http.NoBody), api.Forbidden)
	}
	problem(t, "too often", w.ask(t, "DELETE", api.ClaimPath("games", "game-1"), "game-0", http.NoBody), api.RateLimited)
}

// reviewBurst and reviewRate are how many new tokens one address may send at once, and
// each second.
const reviewBurst, reviewRate = 200, 20

// TestReviewsOfNewTokensAreLimitedByAddress, whether the tokens are valid or not, before
// they cost a call to the API server.
func TestReviewsOfNewTokensAreLimitedByAddress(t *testing.T) {
	w := newWorld()
	const here, there = "10.0.0.1:1234", "[fd00::1]:1234"
	good := func(n int) string { return fmt.Sprintf("game-%d", n) }
	if out := w.from(t, here, "DELETE", api.ClaimPath("games", good(0)), good(0)); out.Code != http.StatusNoContent {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	for n := 1; n < reviewBurst; n++ {
		switch n % 3 {
		case 0:
			problem(t, "a guess", w.from(t, here, "DELETE", path, fmt.Sprintf("bad-%d", n)), api.Unauthenticated)
		case 1:
			problem(t, "a guess", w.from(t, here, "GET", api.PathPools, fmt.Sprintf("bad-%d", n)), api.Unauthenticated)
		case 2:
			if out := w.from(t, here, "DELETE", api.ClaimPath("games", good(n)), good(n)); out.Code != http.StatusNoContent {
				t.Fatalf("a valid token: %d %s", out.Code, out.Body)
			}
		}
	}
	w.now = w.now.Add(time.Second/reviewRate - time.Millisecond)
	asked := len(w.reviews)
	problem(t, "a guess too many", w.from(t, here, "DELETE", path, "bad-last"), api.RateLimited)
	problem(t, "a valid token never seen before", w.from(t, here, "DELETE", path, good(1)), api.RateLimited)
	if len(w.reviews) != asked || asked != reviewBurst {
		t.Errorf("the API server was asked about %d tokens, then about %d", asked, len(w.reviews))
	}
	w.now = w.now.Add(time.Millisecond)
	problem(t, "one guess more after its time", w.from(t, here, "DELETE", path, "bad-later"), api.Unauthenticated)
	problem(t, "and no other", w.from(t, here, "DELETE", path, "bad-later-still"), api.RateLimited)
	if out := w.from(t, there, "DELETE", api.ClaimPath("games", good(2)), good(2)); out.Code != http.StatusNoContent {
		t.Errorf("another address: %d %s", out.Code, out.Body)
	}
	// A token that was good before is reviewed anew, whatever its neighbors do.
	for range 20 {
		w.now = w.now.Add(36 * time.Second)
		for n := range reviewBurst + 20 {
			w.from(t, here, "DELETE", path, fmt.Sprintf("bad-again-%d", n))
		}
		if out := w.from(t, here, "DELETE", api.ClaimPath("games", good(0)), good(0)); out.Code != http.StatusNoContent {
			t.Fatalf("a known pod beside one that guesses: %d %s", out.Code, out.Body)
		}
	}
	if w.reviews[good(0)] != 21 {
		t.Errorf("the known token was reviewed %d times, want 21", w.reviews[good(0)])
	}
}

// TestFleetBehindOneAddressGetsIn at the rate of reviews, and is not limited from then on.
func TestFleetBehindOneAddressGetsIn(t *testing.T) {
	w := newWorld()
	const fleet = 1000
	call := func(n int) *httptest.ResponseRecorder {
		pod := fmt.Sprintf("game-%d", n)
		return w.from(t, "10.0.0.1:1234", "DELETE", api.ClaimPath("games", pod), pod)
	}
	start := w.now
	for in := 0; in < fleet; {
		out := call(in)
		if out.Code == http.StatusNoContent {
			in++
			continue
		}
		problem(t, "a new pod", out, api.RateLimited)
		after, err := strconv.Atoi(out.Header().Get("Retry-After"))
		if err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Duration(after) * time.Second)
	}
	if took := w.now.Sub(start); took > (fleet-reviewBurst)/reviewRate*time.Second {
		t.Errorf("it took %v", took)
	}
	for round := range 3 {
		for n := range fleet {
			if out := call(n); out.Code != http.StatusNoContent {
				t.Fatalf("round %d, pod %d: %d %s", round, n, out.Code, out.Body)
			}
		}
		w.now = w.now.Add(36 * time.Second)
	}
}

// TestMalformedTokenCostsNeitherAReviewNorTheLimit: only what may be a token does.
func TestMalformedTokenCostsNeitherAReviewNorTheLimit(t *testing.T) {
	w := newWorld()
	for range 2 * reviewBurst {
		r := newRequest(t, "DELETE", path)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("Authorization", "Bearer "+tokenOf("game-0")+"=")
		problem(t, "padded", w.serve(t, r), api.Unauthenticated)
	}
	if len(w.reviews) > 0 {
		t.Errorf("reviewed %v", w.reviews)
	}
	if out := w.from(t, "10.0.0.1:1", "DELETE", path, "game-0"); out.Code != http.StatusNoContent {
		t.Errorf("the address was limited: %d %s", out.Code, out.Body)
	}
}

// TestDescribesForAPodAreLimited, and those for other pods are unaffected.
func TestDescribesForAPodAreLimited(t *testing.T) {
	w := newWorld()
	const burst = 2*api.MaxPorts + 20
	calls := burst / 2
	w.do = func(ctx context.Context) error {
		if err := httpapi.Charge(ctx, calls); err != nil {
			return fmt.Errorf("asking AWS: %w", err)
		}
		return nil
	}
	w.finish(t, "game-0")
	w.finish(t, "game-0")
	calls = 1
	out := w.ask(t, "DELETE", path, "game-0", http.NoBody)
	if problem(t, "one more", out, api.RateLimited); out.Header().Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q", out.Header().Get("Retry-After"))
	}
	w.finish(t, "game-1")
	w.now = w.now.Add(2 * time.Second)
	w.finish(t, "game-0")
	if err := httpapi.Charge(t.Context(), 10*burst); err != nil {
		t.Errorf("the allocator's own: %v", err)
	}
}

// TestReviewsThatFailCountToo: a failing API server is spared.
func TestReviewsThatFailCountToo(t *testing.T) {
	w := newWorld()
	w.refuse = api.Errorf(api.Unavailable, "away")
	call := func(n int) *httptest.ResponseRecorder {
		return w.from(t, "10.0.0.1:1", "DELETE", path, fmt.Sprintf("game-%d", n))
	}
	for n := range reviewBurst {
		problem(t, "while it is away", call(n), api.Unavailable)
	}
	problem(t, "one more", call(reviewBurst), api.RateLimited)
	w.refuse = nil
	w.finish(t, "game-0")
}

// TestRevokedTokenCountsAsNew: a token skips the limit of its address only as long as it
// is valid.
func TestRevokedTokenCountsAsNew(t *testing.T) {
	w := newWorld()
	const here = "10.0.0.1:1234"
	if out := w.from(t, here, "DELETE", path, "game-0"); out.Code != http.StatusNoContent {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	w.now = w.now.Add(36 * time.Second)
	for n := range reviewBurst {
		problem(t, "a guess", w.from(t, here, "DELETE", path, fmt.Sprintf("bad-%d", n)), api.Unauthenticated)
	}
	w.refuse = api.Errorf(api.Unauthenticated, "revoked")
	problem(t, "known, and not good any more", w.from(t, here, "DELETE", path, "game-0"), api.Unauthenticated)
	if w.reviews["game-0"] != 2 {
		t.Errorf("it was reviewed %d times", w.reviews["game-0"])
	}
	problem(t, "not known any more", w.from(t, here, "DELETE", path, "game-0"), api.RateLimited)
	if w.reviews["game-0"] != 2 {
		t.Error("the API server was asked for a caller that has to wait")
	}
}

// TestHolderHasTheAddressOfTheConnection, as the API server would report a pod's.
// Headers of the caller are ignored.
func TestHolderHasTheAddressOfTheConnection(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:1234": "10.0.0.1", "[::ffff:10.0.0.1]:1234": "10.0.0.1", "[2001:db8:0::1]:1234": "2001:db8::1", "[fe80::1%eth0]:1": "fe80::1", "@": "",
	} {
		w := newWorld()
		w.from(t, remote, "DELETE", path, "game-0")
		if w.holder.Address != want {
			t.Errorf("from %s: the holder is %+v, want address %q", remote, w.holder, want)
		}
	}
}
