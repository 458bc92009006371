package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

func TestAPodActsOnlyForItself(t *testing.T) {
	w := newWorld()
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

func TestWithoutATokenNobodyIsAsked(t *testing.T) {
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
	r.Header.Set("Authorization", "bearer game-0")
	if out := w.serve(t, r); out.Code != http.StatusNoContent {
		t.Errorf("the scheme in small letters: %d %s", out.Code, out.Body)
	}
}

func (w *world) finish(t *testing.T, pod string) {
	t.Helper()
	if out := w.ask(t, "DELETE", api.ClaimPath("games", pod), pod, http.NoBody); out.Code != http.StatusNoContent {
		t.Fatalf("%s: %d %s", pod, out.Code, out.Body)
	}
}

func TestAPodsReviewIsBelievedForOneRenewal(t *testing.T) {
	w := newWorld()
	for range 3 {
		w.finish(t, "game-0")
	}
	w.finish(t, "game-1")
	w.now = w.now.Add(35*time.Second - 1)
	w.finish(t, "game-0")
	if w.reviews["game-0"] != 1 || w.reviews["game-1"] != 1 {
		t.Errorf("within its time: reviewed %v", w.reviews)
	}
	w.now = w.now.Add(1)
	w.finish(t, "game-0")
	w.finish(t, "game-0")
	if w.reviews["game-0"] != 2 {
		t.Errorf("after its time: reviewed %v", w.reviews)
	}
	// A token in force is not another pod's, however fresh its review.
	problem(t, "another pod's path", w.ask(t, "DELETE", api.ClaimPath("games", "game-1"), "game-0", http.NoBody), api.Forbidden)
}

func TestARefusalIsNotRemembered(t *testing.T) {
	w := newWorld()
	w.refuse = api.Errorf(api.Unauthenticated, "the token has expired")
	for range 2 {
		problem(t, "refused", w.ask(t, "DELETE", path, "game-0", http.NoBody), api.Unauthenticated)
	}
	w.refuse = nil
	w.finish(t, "game-0")
	if w.reviews["game-0"] != 3 {
		t.Errorf("reviewed %v", w.reviews)
	}
}

// TestWhatGrantsLooksAtThePod: a token may review well for a while after its pod
// has gone. Package claim looks itself for PUT.
func TestWhatGrantsLooksAtThePod(t *testing.T) {
	w := newWorld()
	w.gone = "game-0"
	for _, call := range calls {
		w.looks, w.got = nil, nil
		out := w.ask(t, call.method, call.path, "game-0", body(t, call.body))
		grants := strings.HasSuffix(call.path, api.CallTargetGroup) || strings.HasSuffix(call.path, api.CallCollision)
		if !grants {
			if out.Code != call.status || w.looks != nil {
				t.Errorf("%s %s: %d, looked at %v", call.method, call.path, out.Code, w.looks)
			}
			continue
		}
		problem(t, call.path, out, api.Forbidden)
		if w.got != nil || len(w.looks) != 1 {
			t.Errorf("%s of a pod that is gone: called with %v, looked at %v", call.path, w.got, w.looks)
		}
	}
}
