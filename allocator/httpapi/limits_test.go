package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// from asks from an address.
func (w *world) from(t *testing.T, address, method, path, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := newRequest(t, method, path)
	r.RemoteAddr = address
	r.Header.Set("Authorization", "Bearer "+token)
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

// TestRejectedTokensAreLimitedByAddress, before they cost a call to the API server.
func TestRejectedTokensAreLimitedByAddress(t *testing.T) {
	w := newWorld()
	const here, there = "10.0.0.1:1234", "[fd00::1]:1234"
	good := func(n int) string { return fmt.Sprintf("game-%d", n) }
	if out := w.from(t, here, "DELETE", api.ClaimPath("games", good(0)), good(0)); out.Code != http.StatusNoContent {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	for n := range 100 {
		call := []string{"DELETE " + path, "GET " + api.PathPools}[n%2]
		var method, at string
		if _, err := fmt.Sscan(call, &method, &at); err != nil {
			t.Fatal(err)
		}
		problem(t, "a guess", w.from(t, here, method, at, fmt.Sprintf("bad-%d", n)), api.Unauthenticated)
	}
	w.now = w.now.Add(99 * time.Millisecond)
	asked := len(w.reviews)
	problem(t, "a guess too many", w.from(t, here, "DELETE", path, "bad-last"), api.RateLimited)
	problem(t, "a token never seen before from there", w.from(t, here, "DELETE", path, good(1)), api.RateLimited)
	if len(w.reviews) != asked {
		t.Error("the API server was asked for a caller that has to wait")
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
		for n := range 120 {
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

func TestFleetBehindOneAddressIsNotLimited(t *testing.T) {
	w := newWorld()
	for round := range 3 {
		for n := range 1000 {
			pod := fmt.Sprintf("game-%d", n)
			if out := w.from(t, "10.0.0.1:1234", "DELETE", api.ClaimPath("games", pod), pod); out.Code != http.StatusNoContent {
				t.Fatalf("round %d, %s: %d %s", round, pod, out.Code, out.Body)
			}
		}
	}
}

func TestFailingAPIServerDoesNotUseUpTheRateLimit(t *testing.T) {
	w := newWorld()
	w.refuse = api.Errorf(api.Unavailable, "away")
	for n := range 300 {
		problem(t, "while it is away", w.from(t, "10.0.0.1:1", "DELETE", path, fmt.Sprintf("game-%d", n)), api.Unavailable)
	}
	w.refuse = nil
	w.finish(t, "game-0")
}

// TestRevokedTokenCountsAsRejected: a token that was valid before skips the limit of
// its address only as long as it is valid.
func TestRevokedTokenCountsAsRejected(t *testing.T) {
	w := newWorld()
	const here = "10.0.0.1:1234"
	if out := w.from(t, here, "DELETE", path, "game-0"); out.Code != http.StatusNoContent {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	w.now = w.now.Add(36 * time.Second)
	for n := range 100 {
		problem(t, "a guess", w.from(t, here, "DELETE", path, fmt.Sprintf("bad-%d", n)), api.Unauthenticated)
	}
	w.refuse = api.Errorf(api.Unauthenticated, "revoked")
	problem(t, "known, and not good any more", w.from(t, here, "DELETE", path, "game-0"), api.RateLimited)
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
