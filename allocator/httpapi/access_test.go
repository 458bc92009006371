package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

func TestPodActsOnlyForItself(t *testing.T) {
	w := newWorld()
	w.finish(t, "game-0") // a cached review is good for its own pod only, too
	w.got = nil
	for _, other := range []string{api.ClaimPath("games", "game-1"), api.ClaimPath("other", "game-0")} {
		for _, call := range []struct{ method, path string }{
			{"PUT", other}, {"POST", other + api.CallRenew}, {"POST", other + api.CallRelease}, {"DELETE", other},
		} {
			problem(t, call.method+" "+call.path, w.ask(t, call.method, call.path, "game-0", http.NoBody), api.Forbidden)
		}
	}
	if w.got != nil {
		t.Errorf("a call was made with %+v", w.got)
	}
}

func TestCallWithoutATokenCostsNoReview(t *testing.T) {
	w := newWorld()
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic Z2FtZS0wOng=", "game-0"} {
		r := newRequest(t, "PUT", path)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		problem(t, fmt.Sprintf("header %q", header), w.serve(t, r), api.Unauthenticated)
	}
	if len(w.reviews) > 0 {
		t.Errorf("reviewed %v", w.reviews)
	}
	r := newRequest(t, "DELETE", path)
	r.Header.Set("Authorization", "bearer "+tokenOf("game-0"))
	if out := w.serve(t, r); out.Code != http.StatusNoContent {
		t.Errorf("the scheme in lower case: %d %s", out.Code, out.Body)
	}
}

func (w *world) finish(t *testing.T, pod string) {
	t.Helper()
	if out := w.ask(t, "DELETE", api.ClaimPath("games", pod), pod, http.NoBody); out.Code != http.StatusNoContent {
		t.Fatalf("%s: %d %s", pod, out.Code, out.Body)
	}
}

// TestCallsThatGrantCheckThatThePodIsAlive: a token may pass its review for a while
// after its pod is gone. Package claim checks for PUT.
func TestCallsThatGrantCheckThatThePodIsAlive(t *testing.T) {
	w := newWorld()
	w.gone = "game-0"
	for _, call := range calls {
		w.checked, w.got = nil, nil
		out := w.ask(t, call.method, call.path, "game-0", body(t, call.body))
		grants := strings.HasSuffix(call.path, api.CallTargetGroup) || strings.HasSuffix(call.path, api.CallCollision)
		if !grants {
			if out.Code != call.status || w.checked != nil {
				t.Errorf("%s %s: %d, checked %v", call.method, call.path, out.Code, w.checked)
			}
			continue
		}
		problem(t, call.path, out, api.Forbidden)
		if w.got != nil || len(w.checked) != 1 {
			t.Errorf("%s of a pod that is gone: called with %v, checked %v", call.path, w.got, w.checked)
		}
	}
}
