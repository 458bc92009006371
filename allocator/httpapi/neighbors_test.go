package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// hold begins calls that do not end before release, each from the address and with the
// token and the method and path that of gives.
func (w *world) hold(t *testing.T, calls int, of func(n int) (address, method, path, name string)) (release func()) {
	t.Helper()
	free := make(chan struct{})
	w.do = func(ctx context.Context) error {
		select {
		case <-free:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	var wait sync.WaitGroup
	for n := range calls {
		address, method, path, name := of(n)
		wait.Go(func() { w.send(t, address, method, path, name, bodyOf(t, method)) })
	}
	synctest.Wait()
	w.do = func(context.Context) error { return nil }
	return func() {
		close(free)
		wait.Wait()
	}
}

// bodyOf is a body that a call takes.
func bodyOf(t *testing.T, method string) io.Reader {
	t.Helper()
	if method == http.MethodPut {
		return body(t, api.ClaimRequest{})
	}
	if method == http.MethodPost {
		return body(t, api.ReleaseRequest{ClaimUID: "c"})
	}
	return http.NoBody
}

// send sends one request with a body from an address, with the token of a name.
func (w *world) send(t *testing.T, address, method, path, name string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, body)
	r.RemoteAddr = address
	if name != "" {
		r.Header.Set("Authorization", "Bearer "+tokenOf(name))
	}
	return w.serve(t, r)
}

// TestSlowBodiesHoldNoSlot: bodies that do not end hold up nobody.
func TestSlowBodiesHoldNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var wait sync.WaitGroup
		var ends []*io.PipeWriter
		for n := range 2000 {
			from, to := io.Pipe()
			ends = append(ends, to)
			pod := podNumber(n)
			wait.Go(func() { w.send(t, addressOf(pod), http.MethodPut, api.ClaimPath("games", pod), pod, from) })
		}
		synctest.Wait()
		if out := w.send(t, addressOf("game-0"), http.MethodPut, path, "game-0", body(t, api.ClaimRequest{})); out.Code != http.StatusOK {
			t.Errorf("beside bodies that do not end: %d %s", out.Code, out.Body)
		}
		if len(w.reviews) != 1 {
			t.Errorf("%d tokens were reviewed before their bodies ended", len(w.reviews)-1)
		}
		for _, to := range ends {
			if err := to.Close(); err != nil {
				t.Error(err)
			}
		}
		wait.Wait()
	})
}

// TestNewClaimsDoNotHoldUpHolders: a fleet that claims fills the slots of new claims only.
func TestNewClaimsDoNotHoldUpHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		const claiming = 96 + 1024
		release := w.hold(t, claiming, func(n int) (string, string, string, string) {
			pod := podNumber(n)
			return addressOf(pod), http.MethodPut, api.ClaimPath("games", pod), pod
		})
		defer release()
		problem(t, "one claim more", w.send(t, addressOf("game-0"), http.MethodPut, path, "game-0", body(t, api.ClaimRequest{})), api.Unavailable)
		for _, call := range calls {
			if call.method == http.MethodPut {
				continue
			}
			if out := w.send(t, addressOf("game-0"), call.method, call.path, "game-0", body(t, call.body)); out.Code != call.status {
				t.Errorf("%s %s of a holder: %d %s", call.method, call.path, out.Code, out.Body)
			}
		}
		if out := w.ask(t, http.MethodGet, api.PathPools, "admin", http.NoBody); out.Code != http.StatusOK {
			t.Errorf("an admin's call: %d %s", out.Code, out.Body)
		}
	})
}

// TestCollisionsDoNotHoldUpRenewals: the allocator asks AWS about each, and that may take
// long.
func TestCollisionsDoNotHoldUpRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		release := w.hold(t, 16+128, func(n int) (string, string, string, string) {
			pod := podNumber(n)
			return addressOf(pod), http.MethodPost, api.ClaimPath("games", pod) + api.CallCollision, pod
		})
		defer release()
		again := func(call string) *httptest.ResponseRecorder {
			return w.send(t, addressOf("game-0"), http.MethodPost, path+call, "game-0", bodyOf(t, http.MethodPost))
		}
		problem(t, "one collision more", again(api.CallCollision), api.Unavailable)
		if out := again(api.CallRenew); out.Code != http.StatusOK {
			t.Errorf("a renewal beside collisions: %d %s", out.Code, out.Body)
		}
	})
}

// TestCallsInProgressAreLimitedByAddressAndPod, and other callers are unaffected.
func TestCallsInProgressAreLimitedByAddressAndPod(t *testing.T) {
	const perAddress, perPod = 32, 4
	for _, test := range []struct {
		name string
		held int
		// of gives the calls in progress; one more of them is refused.
		of func(n int) (address, pod string)
	}{
		{"one address", perAddress, func(n int) (string, string) { return "10.0.0.1:1", podNumber(n) }},
		{"one pod", perPod, func(n int) (string, string) { return fmt.Sprintf("10.0.0.%d:1", n+1), "game-1" }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			release := w.hold(t, test.held, func(n int) (string, string, string, string) {
				address, pod := test.of(n)
				return address, http.MethodPost, api.ClaimPath("games", pod) + api.CallRenew, pod
			})
			address, pod := test.of(test.held)
			again := func() *httptest.ResponseRecorder {
				return w.send(t, address, http.MethodDelete, api.ClaimPath("games", pod), pod, http.NoBody)
			}
			out := again()
			if problem(t, test.name+", one more", out, api.RateLimited); out.Header().Get("Retry-After") != "1" {
				t.Errorf("%s: Retry-After is %q", test.name, out.Header().Get("Retry-After"))
			}
			if out := w.send(t, "10.0.1.1:1", http.MethodDelete, path, "game-0", http.NoBody); out.Code != http.StatusNoContent {
				t.Errorf("%s: another caller: %d %s", test.name, out.Code, out.Body)
			}
			release()
			if out := again(); out.Code != http.StatusNoContent {
				t.Errorf("%s, after the others: %d %s", test.name, out.Code, out.Body)
			}
		})
	}
}

// TestMetricsAreLimitedByAddress: they cost more than a probe, and need no token either.
func TestMetricsAreLimitedByAddress(t *testing.T) {
	w := newWorld()
	scrape := func(address string) *httptest.ResponseRecorder {
		return w.send(t, address, http.MethodGet, "/metrics", "", http.NoBody)
	}
	for n := range 50 {
		if out := scrape("10.0.0.1:1"); out.Code != http.StatusOK {
			t.Fatalf("scrape %d: %d %s", n, out.Code, out.Body)
		}
	}
	problem(t, "one more", scrape("10.0.0.1:1"), api.RateLimited)
	if out := scrape("10.0.0.2:1"); out.Code != http.StatusOK {
		t.Errorf("from another address: %d %s", out.Code, out.Body)
	}
	for range 200 {
		if out := w.send(t, "10.0.0.1:1", http.MethodGet, "/livez", "", http.NoBody); out.Code != http.StatusOK {
			t.Fatalf("the liveness probe: %d %s", out.Code, out.Body)
		}
	}
	w.now = w.now.Add(time.Second)
	if out := scrape("10.0.0.1:1"); out.Code != http.StatusOK {
		t.Errorf("a second later: %d %s", out.Code, out.Body)
	}
}

// TestEachProbeHasSlotsOfItsOwn: a readiness probe that hangs, and a flood of it, do not
// hold up the liveness probe and the calls.
func TestEachProbeHasSlotsOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		free := make(chan struct{})
		w.config.Probes["/readyz"] = daemon.Probe(func(context.Context) error { <-free; return nil })
		w.Handler = httpapi.New(w.config)
		var wait sync.WaitGroup
		const held = 16 + 64
		for range held {
			wait.Go(func() { w.ask(t, http.MethodGet, "/readyz", "", http.NoBody) })
		}
		synctest.Wait()
		problem(t, "one more", w.ask(t, http.MethodGet, "/readyz", "", http.NoBody), api.Unavailable)
		if out := w.ask(t, http.MethodGet, "/livez", "", http.NoBody); out.Code != http.StatusOK {
			t.Errorf("the liveness probe: %d", out.Code)
		}
		w.finish(t, "game-0")
		close(free)
		wait.Wait()
	})
}
