package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// bodies are all calls that take one, and whose they are.
func bodies() []struct {
	method, path, token string
	body                any
} {
	var all []struct {
		method, path, token string
		body                any
	}
	for _, c := range calls {
		all = append(all, struct {
			method, path, token string
			body                any
		}{c.method, c.path, "game-0", c.body})
	}
	for _, at := range []string{portPath + api.CallBlock, loadBalancerPath + api.CallCordon} {
		all = append(all, struct {
			method, path, token string
			body                any
		}{"POST", at, "admin", api.ReasonRequest{Reason: "scanned by somebody"}})
	}
	return all
}

// FuzzBodies sends any body to any call that takes one: it is refused, or it is
// exactly one value of what the call takes, and nothing in between.
func FuzzBodies(f *testing.F) {
	all := bodies()
	for i, call := range all {
		text, err := json.Marshal(call.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), text)
	}
	f.Add(uint8(0), []byte(`{"podUID":"u","podUID":"v"} `))
	f.Add(uint8(4), []byte(`{"ports":[{"fence":{"generation":1e3}}]}`))
	f.Add(uint8(6), []byte("null"))
	f.Add(uint8(7), []byte(`{"reason":"\u0000"}`))
	f.Add(uint8(8), []byte("{\"reason\":\"\xff\"}"))
	w := newWorld()
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		call := all[int(which)%len(all)]
		w.now = w.now.Add(time.Second) // within the caller's budget
		w.got = nil
		r := httptest.NewRequestWithContext(t.Context(), call.method, call.path, bytes.NewReader(text))
		r.Header.Set("Authorization", "Bearer "+tokenOf(call.token))
		out := w.serve(t, r)
		_, reason := call.body.(api.ReasonRequest)
		if w.got == nil {
			refusals := []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}
			if reason {
				refusals = append(refusals, http.StatusUnprocessableEntity)
			}
			if !slices.Contains(refusals, out.Code) {
				t.Fatalf("%s %s of %q: %d %s", call.method, call.path, text, out.Code, out.Body)
			}
			return
		}
		if out.Code < 200 || out.Code > 299 || !json.Valid(text) || !reason && reflect.TypeOf(w.got) != reflect.TypeOf(call.body) {
			t.Fatalf("%s %s of %q: %d, called with %+v", call.method, call.path, text, out.Code, w.got)
		}
		if did, _ := w.got.(string); reason && strings.ContainsFunc(did, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Fatalf("%s took %q, and did %q", call.path, text, did)
		}
		var plain map[string]any
		if err := json.Unmarshal(text, &plain); err != nil {
			t.Fatalf("%s %s took %q, which is no object: %v", call.method, call.path, text, err)
		}
		known := reflect.TypeOf(call.body)
		for key := range plain {
			if _, ok := known.FieldByNameFunc(func(name string) bool {
				field, _ := known.FieldByName(name)
				tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				return strings.EqualFold(tag, key)
			}); !ok {
				t.Fatalf("%s %s took %q with the unknown field %q", call.method, call.path, text, key)
			}
		}
	})
}

// FuzzRequests sends anything for a path, a token and a name: whatever it is, it
// is answered as the document says, and never as a defect.
func FuzzRequests(f *testing.F) {
	for _, at := range []string{
		"/", "/v1/pools", "/v1/ports/lb/30000", "/v1/ports/%2e%2e/1/block", "/v1/ports//1", "/v1/pods/games/game-0/claim", "/v1/pods/games/game-0/claim/renew",
		"/v1/loadbalancers/lb/cordon?x=%00", "//v1/pools", "/v1/pods/../../pools", "/openapi.json",
	} {
		f.Add("GET", at, "Bearer "+tokenOf("game-0"), "id")
		f.Add("POST", at, "Bearer "+tokenOf("admin"), "")
	}
	f.Add("0", "/v1/ports//", "", "")
	f.Add("GeT", "/", "", "")
	f.Add("PARAMETERS", "/v1/pods/games/game-0/claim", "", "")
	f.Add("OPTIONS", "/v1/pods/games/game-0/claim", "", "")
	f.Add("DELETE", "/v1/pods/games/game-0/claim?claimUID=x&gone=a&gone=%ff", "bearer "+tokenOf("game-0"), strings.Repeat("x", 65))
	w := newWorld()
	f.Fuzz(func(t *testing.T, method, target, authorization, id string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			t.Skip("net/http sends this away itself")
		}
		w.now = w.now.Add(time.Second)
		r := (&http.Request{Method: method, URL: u, Header: http.Header{}, Body: http.NoBody, RemoteAddr: "10.0.0.1:1", RequestURI: target}).WithContext(t.Context())
		r.Header["Authorization"] = []string{authorization}
		r.Header[api.HeaderRequestID] = []string{id}
		if out := w.serve(t, r); out.Code >= http.StatusInternalServerError {
			t.Errorf("%s %q by %q: %d %s", method, target, authorization, out.Code, out.Body)
		}
	})
}
