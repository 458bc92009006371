package client_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
)

// script is a fake allocator. It answers each attempt with the next step, repeats the last
// step, and records the requests.
type script struct {
	mu    sync.Mutex
	steps []step
	seen  []string
	ids   []string
	times []time.Time
}

type step func(*http.Request) (*http.Response, error)

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	s.ids = append(s.ids, r.Header.Get(api.HeaderRequestID))
	s.seen = append(s.seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	s.times = append(s.times, time.Now())
	next := s.steps[0]
	if len(s.steps) > 1 {
		s.steps = s.steps[1:]
	}
	return next(r)
}

func answer(status int, contentType, body string, header ...string) step {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for n := 0; n < len(header); n += 2 {
			h.Set(header[n], header[n+1])
		}
		return &http.Response{
			Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
			Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

func ok(v any) step {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return answer(http.StatusOK, "application/json", string(text))
}

func refuse(code api.Code, status int, header ...string) step {
	text, err := json.Marshal(api.Errorf(code, "because"))
	if err != nil {
		panic(err)
	}
	return answer(status, api.ProblemType+"; charset=utf-8", string(text), header...)
}

func cut(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// torn breaks the connection in the middle of an answer.
func torn(r *http.Request) (*http.Response, error) {
	resp, err := ok(api.Claim{UID: "u"})(r)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"ui`), brokenReader{}))
	return resp, err
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func newClient(t *testing.T, s *script) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: "http://allocator.test/", Transport: s, Jitter: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPodCallsAreSentAsDocumented(t *testing.T) {
	fence := api.Fence{Lease: "l", Epoch: "e", Generation: 2}
	s := &script{}
	c := newClient(t, s)
	ctx := t.Context()
	for _, test := range []struct {
		answer step
		call   func() (any, error)
		want   any
		sent   string
	}{
		{
			ok(api.Claim{UID: "u"}),
			func() (any, error) { return c.Claim(ctx, "games", "game-0", api.ClaimRequest{PodUID: "p"}) },
			api.Claim{UID: "u"},
			`PUT /v1/pods/games/game-0/claim {"podUID":"p","podIP":"","pool":"","ports":null}`,
		},
		{
			answer(http.StatusNoContent, "", ""),
			func() (any, error) {
				return nil, c.TargetGroup(ctx, "games", "game-0", api.TargetGroupRequest{ClaimUID: "u", Fence: fence, TargetGroupARN: "tg"})
			},
			nil,
			`POST /v1/pods/games/game-0/claim/targetgroup {"claimUID":"u","fence":{"lease":"l","epoch":"e","generation":2},"targetGroupARN":"tg"}`,
		},
		{
			answer(http.StatusNoContent, "", ""),
			func() (any, error) {
				return nil, c.Bound(ctx, "games", "game-0", api.BoundRequest{ClaimUID: "u", Fence: fence, ListenerARN: "li"})
			},
			nil,
			`POST /v1/pods/games/game-0/claim/bound {"claimUID":"u","fence":{"lease":"l","epoch":"e","generation":2},"listenerARN":"li"}`,
		},
		{
			ok(api.RenewAnswer{Rebind: []string{"l"}}),
			func() (any, error) { return c.Renew(ctx, "games", "game-0", api.RenewRequest{ClaimUID: "u"}) },
			api.RenewAnswer{Rebind: []string{"l"}},
			`POST /v1/pods/games/game-0/claim/renew {"claimUID":"u","podIP":"","pool":"","ports":null}`,
		},
		{
			ok(api.Claim{UID: "v"}),
			func() (any, error) {
				return c.ReportCollision(ctx, "games", "game-0", api.CollisionRequest{ClaimUID: "u", Fence: fence})
			},
			api.Claim{UID: "v"},
			`POST /v1/pods/games/game-0/claim/collision {"claimUID":"u","fence":{"lease":"l","epoch":"e","generation":2}}`,
		},
		{
			ok(api.ReleaseAnswer{Unbind: true}),
			func() (any, error) { return c.Release(ctx, "games", "game-0", api.ReleaseRequest{ClaimUID: "u"}) },
			api.ReleaseAnswer{Unbind: true},
			`POST /v1/pods/games/game-0/claim/release {"claimUID":"u"}`,
		},
		{
			answer(http.StatusNoContent, "", ""),
			func() (any, error) { return nil, c.Finish(ctx, "games", "game-0", "u", []string{"l", "m"}) },
			nil,
			`DELETE /v1/pods/games/game-0/claim?claimUID=u&gone=l&gone=m`,
		},
	} {
		s.steps, s.seen = []step{test.answer}, nil
		got, err := test.call()
		if err != nil {
			t.Errorf("%s: %v", test.sent, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.sent, diff)
		}
		if diff := cmp.Diff([]string{test.sent}, s.seen); diff != "" {
			t.Errorf("sent requests (-want +got):\n%s", diff)
		}
	}
}
