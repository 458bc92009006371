package client_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/shared/api"
)

func TestOnlyTransientErrorsAreRetried(t *testing.T) {
	fine := ok(api.Claim{UID: "u"})
	for _, test := range []struct {
		name     string
		steps    []step
		attempts int
		want     *api.Problem // nil: success
	}{
		{"connection lost", []step{cut, cut, fine}, 3, nil},
		{"answer torn", []step{torn, fine}, 2, nil},
		{"too many requests", []step{answer(429, "text/plain", ""), fine}, 2, nil},
		{"proxy without backend", []step{answer(502, "text/html", "<h1>"), answer(503, "text/html", "<h1>"), answer(504, "text/html", ""), fine}, 4, nil},
		{"unavailable", []step{refuse(api.Unavailable, 503), fine}, 2, nil},
		{"unavailable for long", []step{refuse(api.Unavailable, 503, "Retry-After", "60"), fine}, 1, &api.Problem{Code: api.Unavailable, RetryAfter: time.Minute}},
		{"always unavailable", []step{refuse(api.Unavailable, 503)}, 5, &api.Problem{Code: api.Unavailable}},
		{"exhausted", []step{refuse(api.Exhausted, 503, "Retry-After", "7")}, 1, &api.Problem{Code: api.Exhausted, RetryAfter: 7 * time.Second}},
		{"releasing", []step{refuse(api.Releasing, 503, "Retry-After", "3")}, 1, &api.Problem{Code: api.Releasing, RetryAfter: 3 * time.Second}},
		{"pending", []step{refuse(api.Pending, 503)}, 1, &api.Problem{Code: api.Pending}},
		{"lost", []step{refuse(api.Lost, 410)}, 1, &api.Problem{Code: api.Lost}},
		{"invalid", []step{refuse(api.Invalid, 422)}, 1, &api.Problem{Code: api.Invalid}},
		{"unauthenticated", []step{refuse(api.Unauthenticated, 401)}, 1, &api.Problem{Code: api.Unauthenticated}},
		{"forbidden", []step{refuse(api.Forbidden, 403)}, 1, &api.Problem{Code: api.Forbidden}},
		{"defect", []step{refuse(api.Internal, 500)}, 1, &api.Problem{Code: api.Internal}},
		{"410 without a problem", []step{answer(410, "text/plain", "gone")}, 1, &api.Problem{Code: api.Malformed}},
		{"lost with another status", []step{refuse(api.Lost, 403)}, 1, &api.Problem{Code: api.Forbidden}},
		{"lost as JSON that is no problem", []step{answer(410, "application/json", `{"code":"lost"}`)}, 1, &api.Problem{Code: api.Malformed}},
		{"redirect", []step{answer(307, "text/plain", "", "Location", "http://elsewhere.test/")}, 1, &api.Problem{Code: api.Unavailable}},
		{"proxy timed out", []step{answer(408, "text/plain", ""), fine}, 2, nil},
		{"rate limited", []step{refuse(api.RateLimited, 429, "Retry-After", "2"), fine}, 2, nil},
		{"rate limited for long", []step{refuse(api.RateLimited, 429, "Retry-After", "30")}, 1, &api.Problem{Code: api.RateLimited, RetryAfter: 30 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: test.steps}
				claim, err := newClient(t, s).Claim(t.Context(), "games", "game-0", api.ClaimRequest{PodUID: "p"})
				if len(s.seen) != test.attempts {
					t.Errorf("%d attempts, want %d", len(s.seen), test.attempts)
				}
				for _, sent := range s.seen {
					if !strings.HasSuffix(sent, `"ports":null}`) {
						t.Errorf("an attempt was sent without its body: %s", sent)
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

func TestPausesDoubleAndHonorRetryAfter(t *testing.T) {
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

func TestCallEndsAfterItsTimeout(t *testing.T) {
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
			t.Errorf("an unknown outcome is the problem %v", p)
		}
	})
}

func TestSuccessfulAnswerOfAProxyIsAnError(t *testing.T) {
	s := &script{steps: []step{answer(200, "text/html", "<h1>Welcome</h1>")}}
	if _, err := newClient(t, s).Claim(t.Context(), "n", "p", api.ClaimRequest{}); err == nil {
		t.Error("a web page was accepted as a claim")
	}
}
