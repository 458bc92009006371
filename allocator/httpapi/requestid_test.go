package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api"
)

func TestEveryAnswerHasARequestID(t *testing.T) {
	w := newWorld()
	made := regexp.MustCompile(`^[A-Z0-9]{26}$`)
	seen := make(map[string]bool)
	for _, at := range []struct{ method, path, token string }{
		{"DELETE", path, "game-0"}, {"DELETE", path, ""}, {"PUT", path, "game-0"}, {"GET", "/nowhere", ""}, {"PATCH", path, ""},
		{"GET", "/livez", ""}, {"GET", api.PathPools, "admin"}, {"GET", api.PathPools, "another"},
	} {
		for given, taken := range map[string]bool{
			"": false, "abc": true, "A-1_b.c": true, strings.Repeat("x", 64): true,
			strings.Repeat("x", 65): false, "a b": false, "a\"b": false, "ä": false, "a\nb": false, "${jndi}": false,
		} {
			r := newRequest(t, at.method, at.path)
			if at.token != "" {
				r.Header.Set("Authorization", "Bearer "+tokenOf(at.token))
			}
			if given != "" {
				r.Header[api.HeaderRequestID] = []string{given}
			}
			out := w.serve(t, r)
			id := out.Header().Get(api.HeaderRequestID)
			if taken && id != given || !taken && (!made.MatchString(id) || seen[id]) {
				t.Errorf("%s %s with id %q is named %q", at.method, at.path, given, id)
			}
			seen[id] = true
			if out.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(out.Header().Get("Cache-Control"), "no-store") {
				t.Errorf("%s %s: header %v", at.method, at.path, out.Header())
			}
		}
	}
}

// TestEveryLogLineOfARequestHasItsID, also lines of other packages.
func TestEveryLogLineOfARequestHasItsID(t *testing.T) {
	w := newWorld()
	w.do = func(ctx context.Context) error {
		w.config.Log.InfoContext(ctx, "port claimed")
		return errors.New("etcd is on fire")
	}
	r := newRequest(t, "DELETE", path)
	r.Header.Set("Authorization", "Bearer "+tokenOf("game-0"))
	r.Header.Set(api.HeaderRequestID, "call-7")
	problem(t, "a failure", w.serve(t, r), api.Internal)
	lines := 0
	for line := range strings.Lines(w.log.String()) {
		lines++
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil || l["requestID"] != "call-7" || strings.Count(line, "requestID") != 1 {
			t.Errorf("%v: %s", err, line)
		}
	}
	if lines != 2 {
		t.Errorf("logged %d lines, want claim's and the failure:\n%s", lines, w.log.String())
	}
}

func TestStartingProcessAnswersUnavailable(t *testing.T) {
	w := newWorld()
	w.Handler = httpapi.Starting(httpapi.Config{Observe: w.config.Observe, Probes: w.config.Probes, Metrics: w.config.Metrics, Fleet: w.config.Fleet, Now: w.config.Now, Log: w.config.Log})
	for _, at := range []struct{ method, path string }{{"PUT", path}, {"GET", api.PathPools}, {"GET", "/"}, {"POST", path + api.CallRenew}, {"DELETE", path}} {
		out := w.ask(t, at.method, at.path, "game-0", http.NoBody)
		problem(t, at.path, out, api.Unavailable)
		if out.Header().Get("Retry-After") == "" || out.Header().Get(api.HeaderRequestID) == "" {
			t.Errorf("%s: header %v", at.path, out.Header())
		}
	}
	if out := w.ask(t, "GET", "/livez", "", http.NoBody); out.Code != http.StatusOK {
		t.Errorf("/livez: %d", out.Code)
	}
}
