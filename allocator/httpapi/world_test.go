package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/contract"
	"github.com/portlease/portlease/shared/daemon"
)

// world is the API with everything behind it faked: what a call got, and what it
// answers with.
type world struct {
	http.Handler
	config httpapi.Config
	log    bytes.Buffer
	now    time.Time

	mu       sync.Mutex // guards all below
	reviews  map[string]int
	observed []string
	rights   []string
	// checked are the pods whose life was checked; gone is one that is not there.
	checked []string
	gone    string
	// refuse is what reviewing any token fails with.
	refuse error

	// got is what the last call of a pod was given.
	got any
	// holder is who made it.
	holder claim.Holder
	// do is what a call does before it answers.
	do func(context.Context) error
}

func newWorld() *world {
	w := &world{now: time.Now(), reviews: make(map[string]int), do: func(context.Context) error { return nil }}
	log, err := daemon.NewLogger(&w.log, "info")
	if err != nil {
		panic(err)
	}
	fleet := func() int { return 0 }
	w.config = httpapi.Config{
		Claims: claims{w}, Views: views{w}, Operations: operations{w}, Auth: auth.New(callers{w}, func() time.Time { return w.now }, fleet), Fleet: fleet,
		Observe: func(a httpapi.Answer) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.observed = append(w.observed, strings.TrimSpace(a.Method+" "+a.Route+" "+http.StatusText(a.Status)+" "+string(a.Code)))
		},
		Probes: map[string]http.Handler{"/livez": daemon.Probe(nil), "/readyz": daemon.Probe(nil)}, Metrics: daemon.Probe(nil),
		Now: func() time.Time { return w.now }, Log: log,
	}
	w.Handler = httpapi.New(w.config)
	return w
}

// tokenOf gives the token of pod games/<name>, or of a user of that name.
func tokenOf(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(name)) + ".e30.c2lnbmF0dXJl"
}

// callers know the tokens of tokenOf. Those whose name begins with "bad" are rejected.
type callers struct{ *world }

func (c callers) review(token string) (name string, err error) {
	encoded, _, _ := strings.Cut(token, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", err
	}
	name = string(decoded)
	c.mu.Lock()
	c.reviews[name]++
	refuse := c.refuse
	c.mu.Unlock()
	if strings.HasPrefix(name, "bad") {
		return "", api.Errorf(api.Unauthenticated, "%s is not valid", name)
	}
	return name, refuse
}

func (c callers) ReviewPod(_ context.Context, token string) (auth.Caller, error) {
	pod, err := c.review(token)
	return auth.Caller{Namespace: "games", Pod: pod, PodUID: "uid-" + pod}, err
}

func (c callers) ReviewAdmin(_ context.Context, token string) (auth.Caller, error) {
	user, err := c.review(token)
	return auth.Caller{User: user}, err
}

func (c callers) CheckAlive(_ context.Context, who auth.Caller) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked = append(c.checked, who.Pod)
	if who.Pod == c.gone {
		return api.Errorf(api.Forbidden, "pod %s with UID %s is gone", who.Pod, who.PodUID)
	}
	return nil
}

func (c callers) Authorize(_ context.Context, who auth.Caller, verb string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rights = append(c.rights, who.User+" "+verb)
	if who.User != "admin" {
		return api.Errorf(api.Forbidden, "%s may not %s leases", who.User, verb)
	}
	return nil
}

type claims struct{ *world }

func (c claims) note(ctx context.Context, h claim.Holder, got any) error {
	c.mu.Lock()
	c.holder, c.got = h, got
	c.mu.Unlock()
	return c.do(ctx)
}

func (c claims) Claim(ctx context.Context, h claim.Holder, r api.ClaimRequest) (api.Claim, bool, error) {
	return api.Claim{UID: "claim"}, r.Pool == "new", c.note(ctx, h, r)
}

func (c claims) TargetGroup(ctx context.Context, h claim.Holder, r api.TargetGroupRequest) error {
	return c.note(ctx, h, r)
}

func (c claims) Bound(ctx context.Context, h claim.Holder, r api.BoundRequest) error {
	return c.note(ctx, h, r)
}

func (c claims) Renew(ctx context.Context, h claim.Holder, r api.RenewRequest) (api.RenewAnswer, error) {
	return api.RenewAnswer{Claim: api.Claim{UID: "claim"}}, c.note(ctx, h, r)
}

func (c claims) ReportCollision(ctx context.Context, h claim.Holder, r api.CollisionRequest) (api.Claim, error) {
	return api.Claim{UID: "claim"}, c.note(ctx, h, r)
}

func (c claims) Release(ctx context.Context, h claim.Holder, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	return api.ReleaseAnswer{Unbind: true}, c.note(ctx, h, r)
}

func (c claims) Finish(ctx context.Context, h claim.Holder, uid string, gone []string) error {
	return c.note(ctx, h, uid+" "+strings.Join(gone, ","))
}

type views struct{ *world }

var (
	poolView         = api.PoolView{Name: "default", Placement: "spread", Ports: map[string]int{"total": 10, "bound": 2}, LoadBalancers: []api.LoadBalancerView{loadBalancerView}}
	loadBalancerView = api.LoadBalancerView{ARN: "arn:lb", ID: "lb", Host: "lb.example.com", ListenerLimit: 50}
)

func (v views) Pools(ctx context.Context) (api.PoolList, error) {
	return api.PoolList{Pools: []api.PoolView{poolView}}, v.do(ctx)
}

func (v views) Ports(ctx context.Context) (api.PortList, error) {
	return api.PortList{}, v.do(ctx)
}

func (v views) Port(ctx context.Context, id string, port int) (api.PortView, error) {
	return portView(id, port), v.do(ctx)
}

func portView(id string, port int) api.PortView {
	return api.PortView{Lease: fmt.Sprintf("%s-%d", id, port), ListenerPort: port, State: "bound", Generation: 3}
}

func (v views) ClaimOf(ctx context.Context, namespace, pod string) (api.Claim, error) {
	return api.Claim{UID: "claim", Namespace: namespace, Pod: pod}, v.do(ctx)
}

// operations note who did what.
type operations struct{ *world }

func (o operations) note(ctx context.Context, did ...any) error {
	o.mu.Lock()
	o.got = strings.TrimSpace(fmt.Sprintln(did...))
	o.mu.Unlock()
	return o.do(ctx)
}

func (o operations) Block(ctx context.Context, who, id string, port int, reason string) (api.PortView, error) {
	return portView(id, port), o.note(ctx, who, "blocks", id, port, reason)
}

func (o operations) Unblock(ctx context.Context, who, id string, port int) (api.PortView, error) {
	return portView(id, port), o.note(ctx, who, "unblocks", id, port)
}

func (o operations) Cordon(ctx context.Context, who, id, reason string) (api.LoadBalancerView, error) {
	return loadBalancerView, o.note(ctx, who, "cordons", id, reason)
}

func (o operations) Uncordon(ctx context.Context, who, id string) (api.LoadBalancerView, error) {
	return loadBalancerView, o.note(ctx, who, "uncordons", id)
}

// ask sends one request with the token of a name; an empty one sends none.
func (w *world) ask(t *testing.T, method, path, name string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, body)
	if name != "" {
		r.Header.Set("Authorization", "Bearer "+tokenOf(name))
	}
	return w.serve(t, r)
}

// serve serves one request and holds the answer against the OpenAPI document.
func (w *world) serve(t *testing.T, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	if err := document().Check(contract.Exchange{Method: r.Method, URL: r.URL, Status: out.Code, Header: out.Header(), Body: out.Body.Bytes()}); err != nil {
		t.Error(err)
	}
	return out
}

// document is read once: every test checks against it.
var document = sync.OnceValue(func() *contract.Contract {
	c, err := contract.New()
	if err != nil {
		panic(err)
	}
	return c
})

func newRequest(t *testing.T, method, path string) *http.Request {
	t.Helper()
	return httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
}

// problem holds an answer to be a problem document of that code, and gives it.
func problem(t *testing.T, what string, out *httptest.ResponseRecorder, code api.Code) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(out.Body.Bytes(), &p); err != nil {
		t.Fatalf("%s: %d %q is no problem document: %v", what, out.Code, out.Body, err)
	}
	if p.Code != code || p.Status != code.Status() || out.Code != code.Status() || p.Detail == "" ||
		p.Title != http.StatusText(out.Code) || out.Header().Get("Content-Type") != api.ProblemType {
		t.Errorf("%s: got %d %s %+v, want %s", what, out.Code, out.Header().Get("Content-Type"), p, code)
	}
	return p
}
