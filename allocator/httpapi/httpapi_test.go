package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/shared/api"
)

var path = api.ClaimPath("games", "game-0")

var fence = api.Fence{Lease: "lb-30000", Epoch: "e", Generation: 3}

// calls are all that a pod may do: the body it sends and how it is answered.
var calls = []struct {
	method, path string
	body         any
	status       int
	answer       string
}{
	{"PUT", path, api.ClaimRequest{PodUID: "u", PodIP: "10.0.0.1", Pool: "new", Ports: []api.Port{{Name: "a", TargetPort: 1, Protocol: api.TCP}}}, 201, `"uid":"claim"`},
	{"PUT", path, api.ClaimRequest{PodUID: "u", PodIP: "10.0.0.1", Pool: "known", HealthPort: 7}, 200, `"uid":"claim"`},
	{"POST", path + api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: "c", Fence: fence, TargetGroupARN: "tg"}, 204, ""},
	{"POST", path + api.CallBound, api.BoundRequest{ClaimUID: "c", Fence: fence, ListenerARN: "l"}, 204, ""},
	{"POST", path + api.CallRenew, api.RenewRequest{ClaimUID: "c", PodIP: "10.0.0.1", Pool: "p", Ports: []api.ClaimedPort{{ListenerPort: 7, Fence: fence}}}, 200, `"claim":{"uid":"claim"`},
	{"POST", path + api.CallCollision, api.CollisionRequest{ClaimUID: "c", Fence: fence}, 200, `"uid":"claim"`},
	{"POST", path + api.CallRelease, api.ReleaseRequest{ClaimUID: "c"}, 200, `"unbind":true`},
}

func body(t *testing.T, v any) io.Reader {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(text)
}

func TestCallsOfPods(t *testing.T) {
	w := newWorld()
	for _, call := range calls {
		out := w.ask(t, call.method, call.path, "game-0", body(t, call.body))
		if out.Code != call.status || !strings.Contains(out.Body.String(), call.answer) || call.answer == "" && out.Body.Len() > 0 {
			t.Errorf("%s %s: got %d %s", call.method, call.path, out.Code, out.Body)
		}
		if !reflect.DeepEqual(w.got, call.body) || w.holder != (claim.Holder{Namespace: "games", Pod: "game-0", UID: "uid-game-0", Address: "192.0.2.1"}) {
			t.Errorf("%s %s: got %+v of %+v", call.method, call.path, w.got, w.holder)
		}
	}
	out := w.ask(t, "DELETE", path+"?claimUID=c&gone=lb-1&gone=lb-2", "game-0", http.NoBody)
	if out.Code != http.StatusNoContent || w.got != "c lb-1,lb-2" {
		t.Errorf("DELETE: got %d %s, %v", out.Code, out.Body, w.got)
	}
	if want := "PUT /v1/pods/:namespace/:pod/claim Created"; w.observed[0] != want || len(w.observed) != len(calls)+1 {
		t.Errorf("observed %v", w.observed)
	}
}

func TestClaimOverQuotaIsToldWhenToRetry(t *testing.T) {
	w := newWorld()
	w.do = func(context.Context) error {
		return api.Errorf(api.Quota, "over the quota").WithRetryAfter(30 * time.Second)
	}
	out := w.ask(t, calls[0].method, calls[0].path, "game-0", body(t, calls[0].body))
	problem(t, "PUT", out, api.Quota)
	if got := out.Header().Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q", got)
	}
}

// TestErrorsAreAnsweredAsProblems lets every call of pods and admins fail in each way
// there is.
func TestErrorsAreAnsweredAsProblems(t *testing.T) {
	w := newWorld()
	for _, test := range []struct {
		err   error
		code  api.Code
		after string // Retry-After
	}{
		{api.Errorf(api.Forbidden, "the pod is gone"), api.Forbidden, ""},
		{fmt.Errorf("renewing: %w", api.Errorf(api.Unavailable, "no answer").WithRetryAfter(4001*time.Millisecond)), api.Unavailable, "5"},
		{api.Errorf(api.Unavailable, "no answer"), api.Unavailable, "1"},
		{context.DeadlineExceeded, api.Unavailable, "1"},
		{fmt.Errorf("reading: %w", context.Canceled), api.Unavailable, "1"},
		{errors.New("etcd: secret of the house"), api.Internal, ""},
	} {
		w.do = func(context.Context) error { return test.err }
		for _, call := range append(calls, []struct {
			method, path string
			body         any
			status       int
			answer       string
		}{
			{"DELETE", path, nil, 0, ""}, {"GET", path, nil, 0, ""}, {"GET", api.PathPools, nil, 0, ""},
			{"GET", api.PathPorts, nil, 0, ""}, {"GET", api.PathPorts + "/lb/30000", nil, 0, ""},
		}...) {
			token := "game-0"
			if call.method == "GET" {
				token = "admin"
			}
			what := fmt.Sprintf("%s %s failing with %v", call.method, call.path, test.err)
			out := w.ask(t, call.method, call.path, token, body(t, call.body))
			p := problem(t, what, out, test.code)
			if got := out.Header().Get("Retry-After"); got != test.after {
				t.Errorf("%s: Retry-After is %q", what, got)
			}
			if strings.Contains(out.Body.String(), "secret") {
				t.Errorf("%s: tells %s", what, out.Body)
			}
			id := out.Header().Get("X-Request-Id")
			if test.code == api.Internal && (id == "" || !strings.Contains(p.Detail, id) || !strings.Contains(w.log.String(), id)) {
				t.Errorf("%s: id %q is not in %q and the log", what, id, p.Detail)
			}
		}
	}
	if !strings.Contains(w.log.String(), "secret of the house") {
		t.Error("the log does not have the cause")
	}
}

func TestPanicIsAnsweredAsInternalAndItsStackIsLogged(t *testing.T) {
	w := newWorld()
	w.do = func(context.Context) error { panic("secret of the house") }
	out := w.ask(t, "PUT", path, "game-0", body(t, calls[0].body))
	p := problem(t, "a panic", out, api.Internal)
	if id := out.Header().Get("X-Request-Id"); id == "" || !strings.Contains(p.Detail, id) || strings.Contains(out.Body.String(), "secret") {
		t.Errorf("answered %s", out.Body)
	}
	if log := w.log.String(); !strings.Contains(log, "secret of the house") || !strings.Contains(log, "httpapi_test.go") {
		t.Errorf("the log is %s", log)
	}
	w.do = func(context.Context) error { return nil }
	if out := w.ask(t, "PUT", path, "game-0", body(t, calls[0].body)); out.Code != http.StatusCreated {
		t.Errorf("after it: %d", out.Code)
	}
}

func TestSlowCallIsAnsweredUnavailableAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.do = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		start := time.Now()
		out := w.ask(t, "PUT", path, "game-0", body(t, calls[0].body))
		problem(t, "a slow call", out, api.Unavailable)
		if took := time.Since(start); took != 20*time.Second || out.Header().Get("Retry-After") != "1" {
			t.Errorf("answered after %v with Retry-After %q", took, out.Header().Get("Retry-After"))
		}
	})
}

func TestUnknownPathsAndMethods(t *testing.T) {
	w := newWorld()
	for _, test := range []struct {
		method, path string
		code         api.Code
	}{
		{"GET", "/nothing", api.NotFound}, {"GET", "/v1", api.NotFound}, {"GET", "/v2/pools", api.NotFound}, {"PUT", path + "/", api.NotFound},
		{"POST", path + "/nonsense", api.NotFound}, {"GET", "/v1/pods/games/claim", api.NotFound},
		{"POST", path, api.MethodNotAllowed}, {"GET", path + api.CallRenew, api.MethodNotAllowed}, {"DELETE", api.PathPools, api.MethodNotAllowed}, {"POST", "/", api.MethodNotAllowed}, {"GET", "/v1/ports//1", api.NotFound}, {"GET", "/v1/pods//game-0/claim", api.NotFound}, {"GET", "//v1/pools", api.NotFound}, {"HEAD", "/", api.MethodNotAllowed},
	} {
		problem(t, test.method+" "+test.path, w.ask(t, test.method, test.path, "admin", http.NoBody), test.code)
	}
	if out := w.ask(t, "GET", "/livez", "", http.NoBody); out.Code != http.StatusOK {
		t.Errorf("/livez: %d", out.Code)
	}
}

func TestBodiesAreDecodedStrictly(t *testing.T) {
	const limit = 64 << 10
	padded := func(size int) string {
		open, end := `{"claimUID":"`, `"}`
		return open + strings.Repeat("x", size-len(open)-len(end)) + end
	}
	for name, test := range map[string]struct {
		body io.Reader
		code api.Code // empty: accepted
	}{
		"as it should be":           {strings.NewReader(`{"claimUID":"c"}`), ""},
		"space around":              {strings.NewReader(" {\"claimUID\":\"c\"}\n"), ""},
		"empty":                     {http.NoBody, api.Malformed},
		"no JSON":                   {strings.NewReader(`claimUID=c`), api.Malformed},
		"cut off":                   {strings.NewReader(`{"claimUID":"c"`), api.Malformed},
		"unknown field":             {strings.NewReader(`{"claimUID":"c","force":true}`), api.Malformed},
		"wrong type":                {strings.NewReader(`{"claimUID":7}`), api.Malformed},
		"two values":                {strings.NewReader(`{"claimUID":"c"}{"claimUID":"d"}`), api.Malformed},
		"something behind":          {strings.NewReader(`{"claimUID":"c"}]`), api.Malformed},
		"as large as may be":        {strings.NewReader(padded(limit)), ""},
		"too large":                 {strings.NewReader(padded(limit + 1)), api.TooLarge},
		"too large without length":  {io.MultiReader(strings.NewReader(padded(limit + 1))), api.TooLarge},
		"broken off on the way":     {io.MultiReader(strings.NewReader(`{"claimUID":`), iotest.ErrReader(io.ErrUnexpectedEOF)), api.Malformed},
		"timed out on the way here": {iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(`{"claimUID":"c"}`))), api.Malformed},
	} {
		w := newWorld()
		out := w.ask(t, "POST", path+api.CallRelease, "game-0", test.body)
		if test.code != "" {
			problem(t, name, out, test.code)
			if w.got != nil {
				t.Errorf("%s: the call was made with %+v", name, w.got)
			}
		} else if out.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
}
