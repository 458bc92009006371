package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
)

// script is an allocator in memory that answers one step a try and says what it
// was asked. The last step stays.
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

// torn starts an answer and breaks off.
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

func TestCallsAreWhatTheContractSays(t *testing.T) {
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
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s gave %+v, want %+v", test.sent, got, test.want)
		}
		if !slices.Equal(s.seen, []string{test.sent}) {
			t.Errorf("sent %q\nwant %q", s.seen, test.sent)
		}
	}
}

func TestWhatIsRepeatedAndWhatIsNot(t *testing.T) {
	fine := ok(api.Claim{UID: "u"})
	for _, test := range []struct {
		name  string
		steps []step
		tries int
		want  *api.Problem // nil: success
	}{
		{"connection lost", []step{cut, cut, fine}, 3, nil},
		{"answer torn", []step{torn, fine}, 2, nil},
		{"too many requests", []step{answer(429, "text/plain", ""), fine}, 2, nil},
		{"proxy without backend", []step{answer(502, "text/html", "<h1>"), answer(503, "text/html", "<h1>"), answer(504, "text/html", ""), fine}, 4, nil},
		{"unavailable", []step{refuse(api.Unavailable, 503), fine}, 2, nil},
		{"unavailable for long", []step{refuse(api.Unavailable, 503, "Retry-After", "60"), fine}, 1, &api.Problem{Code: api.Unavailable, RetryAfter: time.Minute}},
		{"unavailable for good", []step{refuse(api.Unavailable, 503)}, 5, &api.Problem{Code: api.Unavailable}},
		{"exhausted", []step{refuse(api.Exhausted, 503, "Retry-After", "7")}, 1, &api.Problem{Code: api.Exhausted, RetryAfter: 7 * time.Second}},
		{"releasing", []step{refuse(api.Releasing, 503, "Retry-After", "3")}, 1, &api.Problem{Code: api.Releasing, RetryAfter: 3 * time.Second}},
		{"pending", []step{refuse(api.Pending, 503)}, 1, &api.Problem{Code: api.Pending}},
		{"lost", []step{refuse(api.Lost, 410)}, 1, &api.Problem{Code: api.Lost}},
		{"invalid", []step{refuse(api.Invalid, 422)}, 1, &api.Problem{Code: api.Invalid}},
		{"unauthenticated", []step{refuse(api.Unauthenticated, 401)}, 1, &api.Problem{Code: api.Unauthenticated}},
		{"forbidden", []step{refuse(api.Forbidden, 403)}, 1, &api.Problem{Code: api.Forbidden}},
		{"defect", []step{refuse(api.Internal, 500)}, 1, &api.Problem{Code: api.Internal}},
		{"bare gone", []step{answer(410, "text/plain", "gone")}, 1, &api.Problem{Code: api.Malformed}},
		{"lost with another status", []step{refuse(api.Lost, 403)}, 1, &api.Problem{Code: api.Forbidden}},
		{"lost as JSON that is no problem", []step{answer(410, "application/json", `{"code":"lost"}`)}, 1, &api.Problem{Code: api.Malformed}},
		{"redirect", []step{answer(307, "text/plain", "", "Location", "http://elsewhere.test/")}, 1, &api.Problem{Code: api.Unavailable}},
		{"a proxy that gave up waiting for the request", []step{answer(408, "text/plain", ""), fine}, 2, nil},
		{"asked too often", []step{refuse(api.RateLimited, 429, "Retry-After", "2"), fine}, 2, nil},
		{"asked far too often", []step{refuse(api.RateLimited, 429, "Retry-After", "30")}, 1, &api.Problem{Code: api.RateLimited, RetryAfter: 30 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: test.steps}
				claim, err := newClient(t, s).Claim(t.Context(), "games", "game-0", api.ClaimRequest{PodUID: "p"})
				if len(s.seen) != test.tries {
					t.Errorf("%d tries, want %d", len(s.seen), test.tries)
				}
				for _, sent := range s.seen {
					if !strings.HasSuffix(sent, `"ports":null}`) {
						t.Errorf("a try was sent without its body: %s", sent)
					}
				}
				if test.want == nil {
					if err != nil || claim.UID != "u" {
						t.Errorf("got %+v, %v", claim, err)
					}
					return
				}
				p, decided := errors.AsType[*api.Problem](err)
				if !decided || p.Code != test.want.Code || p.RetryAfter != test.want.RetryAfter {
					t.Errorf("got %v, want %v after %v", err, test.want.Code, test.want.RetryAfter)
				}
				if errors.Is(err, api.ErrLost) != (test.want.Code == api.Lost) {
					t.Errorf("%v is read as lost", err)
				}
			})
		})
	}
}

func TestPausesDoubleAndHonourRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{cut, cut, refuse(api.Unavailable, 503, "Retry-After", "3"), ok(api.Claim{})}}
		if _, err := newClient(t, s).Claim(t.Context(), "n", "p", api.ClaimRequest{}); err != nil {
			t.Fatal(err)
		}
		var pauses []time.Duration
		for n := 1; n < len(s.times); n++ {
			pauses = append(pauses, s.times[n].Sub(s.times[n-1]))
		}
		if want := []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second}; !slices.Equal(pauses, want) {
			t.Errorf("paused %v, want %v", pauses, want)
		}
	})
}

func TestCallHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}}}
		start := time.Now()
		_, err := newClient(t, s).Claim(t.Context(), "n", "p", api.ClaimRequest{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if p, decided := errors.AsType[*api.Problem](err); decided {
			t.Errorf("an unknown outcome reads as the decision %v", p)
		}
	})
}

func TestAnswerOfAProxyIsAnError(t *testing.T) {
	s := &script{steps: []step{answer(200, "text/html", "<h1>Welcome</h1>")}}
	if _, err := newClient(t, s).Claim(t.Context(), "n", "p", api.ClaimRequest{}); err == nil {
		t.Error("took a web page for a claim")
	}
}

func TestTokenAndCAAreReadAnew(t *testing.T) {
	var tokens []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewTLSServer(handler)
	defer server.Close()
	dir := t.TempDir()
	tokenFile, caFile := filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write(t, caFile, right)
	write(t, tokenFile, []byte("one\n"))
	c, err := client.New(client.Config{URL: server.URL, TokenFile: tokenFile, CAFile: caFile})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"one", "two"} {
		write(t, tokenFile, []byte(token+"\n"))
		if err := c.Finish(t.Context(), "n", "p", "u", nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"Bearer one", "Bearer two"}; !slices.Equal(tokens, want) {
		t.Errorf("tokens were %q", tokens)
	}
	write(t, caFile, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	if err := c.Finish(t.Context(), "n", "p", "u", nil); err == nil || !strings.Contains(err.Error(), caFile) {
		t.Errorf("with the CA replaced by nothing: %v", err)
	}
	write(t, caFile, right)
	write(t, tokenFile, nil)
	if err := c.Finish(t.Context(), "n", "p", "u", nil); err == nil || !strings.Contains(err.Error(), tokenFile) {
		t.Errorf("with an empty token: %v", err)
	}
	if len(tokens) != 2 {
		t.Errorf("the server was asked %d times, want 2", len(tokens))
	}
}

func TestForeignServerIsNotSpokenTo(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request reached a server that is not trusted")
	}))
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := c.Finish(t.Context(), "n", "p", "u", nil); err == nil {
		t.Error("no error")
	}
	if time.Since(start) > 5*time.Second {
		t.Error("a certificate that cannot be trusted was tried again")
	}
}

func TestSettingsThatCannotBeUsed(t *testing.T) {
	for _, cfg := range []client.Config{
		{}, {URL: "allocator:443"}, {URL: "ftp://allocator"}, {URL: "https://"}, {URL: "://"},
		{URL: "https://allocator", CAFile: filepath.Join(t.TempDir(), "none")},
	} {
		if _, err := client.New(cfg); err == nil {
			t.Errorf("took %+v", cfg)
		}
	}
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
