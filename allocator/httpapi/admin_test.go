package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/portlease/portlease/shared/api"
)

var (
	portPath         = api.PortPath("lb", 30000)
	loadBalancerPath = api.LoadBalancerPath("lb")
)

// adminCalls are all calls of admins: the right each needs, the answer and the effect.
var adminCalls = []struct{ method, path, body, verb, answer, done string }{
	{"GET", api.PathPools, "", "list", `{"pools":[{"name":"default",`, ""},
	{"GET", api.PathPorts, "", "list", `{"ports":[]}`, ""},
	{"GET", portPath, "", "get", `{"lease":"lb-30000",`, ""},
	{"GET", path, "", "get", `{"uid":"claim",`, ""},
	{"POST", portPath + api.CallBlock, `{"reason":"scanned by somebody"}`, "update", `{"lease":"lb-30000",`, "admin blocks lb 30000 scanned by somebody"},
	{"POST", portPath + api.CallUnblock, "", "update", `{"lease":"lb-30000",`, "admin unblocks lb 30000"},
	{"POST", loadBalancerPath + api.CallCordon, `{"reason":"to be replaced"}`, "update", `{"arn":"arn:lb",`, "admin cordons lb to be replaced"},
	{"POST", loadBalancerPath + api.CallUncordon, "", "update", `{"arn":"arn:lb",`, "admin uncordons lb"},
}

func TestCallsOfAdmins(t *testing.T) {
	w := newWorld()
	for _, call := range adminCalls {
		w.rights, w.got = nil, nil
		ask := func(token string) *httptest.ResponseRecorder {
			return w.ask(t, call.method, call.path, token, strings.NewReader(call.body))
		}
		problem(t, "without the right: "+call.path, ask("another"), api.Forbidden)
		problem(t, "without a token: "+call.path, ask(""), api.Unauthenticated)
		w.refuse = api.Errorf(api.Unavailable, "the API server is away")
		problem(t, "unreviewed: "+call.path, ask("third"), api.Unavailable)
		w.refuse = nil
		if w.got != nil {
			t.Errorf("%s: a call that was refused did %v", call.path, w.got)
		}
		w.rights = nil
		out := ask("admin")
		if out.Code != http.StatusOK || !strings.HasPrefix(out.Body.String(), call.answer) || !slices.Equal(w.rights, []string{"admin " + call.verb}) {
			t.Errorf("%s: %d %s, asked for %v", call.path, out.Code, out.Body, w.rights)
		}
		if call.done != "" && w.got != call.done {
			t.Errorf("%s: it did %v", call.path, w.got)
		}
	}
}

func TestReasonIsRequiredAndPrintable(t *testing.T) {
	w := newWorld()
	for _, call := range []string{portPath + api.CallBlock, loadBalancerPath + api.CallCordon} {
		for body, code := range map[string]api.Code{
			``: api.Malformed, `null null`: api.Malformed, `{"reason":1}`: api.Malformed, `{"why":"x"}`: api.Malformed,
			`null`: api.Invalid, `{}`: api.Invalid, `{"reason":""}`: api.Invalid, `{"reason":"  "}`: api.Invalid,
			`{"reason":"` + strings.Repeat("x", 201) + `"}`: api.Invalid, `{"reason":"` + strings.Repeat("ä", 101) + `"}`: api.Invalid,
			`{"reason":"two\nlines"}`: api.Invalid, `{"reason":"\u001b[31m"}`: api.Invalid, `{"reason":"\u202e"}`: api.Invalid, `{"reason":"\ud800"}`: api.Invalid,
		} {
			problem(t, call+" "+body, w.ask(t, "POST", call, "admin", strings.NewReader(body)), code)
		}
		if w.got != nil {
			t.Errorf("%s did %v", call, w.got)
		}
		for _, reason := range []string{strings.Repeat("x", 200), strings.Repeat("ä", 100), "ticket #7: \u2603 & <b>"} {
			if out := w.ask(t, "POST", call, "admin", strings.NewReader(`{"reason":"`+reason+`"}`)); out.Code != http.StatusOK {
				t.Errorf("%s with %q: %d %s", call, reason, out.Code, out.Body)
			}
		}
		w.got = nil
	}
}

func TestPathsWithImpossibleNamesAreMalformed(t *testing.T) {
	w := newWorld()
	for _, bad := range []string{
		api.PathPorts + "/lb/many", api.PathPorts + "/lb/0", api.PathPorts + "/lb/65536", api.PathPorts + "/lb/+80", api.PathPorts + "/lb/080",
		api.PathPorts + "/l.b/80", api.PathPorts + "/lb%2F..%2Fx/80", api.PathPorts + "/" + strings.Repeat("f", 65) + "/80",
		api.ClaimPath("games", "Game"), api.ClaimPath("ga.mes", "game"), api.ClaimPath("games", "..%2Fx"), api.ClaimPath("games", strings.Repeat("g", 254)),
	} {
		problem(t, bad, w.ask(t, "GET", bad, "admin", http.NoBody), api.Malformed)
	}
	for _, bad := range []string{
		api.PathPorts + "/lb/0" + api.CallBlock, api.PathPorts + "/l_b/1" + api.CallUnblock,
		api.LoadBalancerPath("l%20b") + api.CallCordon, api.LoadBalancerPath("l.b") + api.CallUncordon,
	} {
		problem(t, bad, w.ask(t, "POST", bad, "admin", strings.NewReader(`{"reason":"x"}`)), api.Malformed)
	}
	if w.got != nil {
		t.Errorf("did %v", w.got)
	}
}
