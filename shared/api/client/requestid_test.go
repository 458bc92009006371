package client_test

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
)

// With the id, an admin finds an agent's failed call in the allocator's log.
func TestAllAttemptsOfACallHaveOneRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{cut, refuse(api.Unavailable, 503), refuse(api.Lost, 410)}}
		var log bytes.Buffer
		c, err := client.New(client.Config{
			URL: "http://allocator.test", Transport: s,
			Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, first := c.Renew(t.Context(), "games", "game-0", api.RenewRequest{})
		_, second := c.Renew(t.Context(), "games", "game-0", api.RenewRequest{})
		if len(s.ids) != 4 || s.ids[0] != s.ids[1] || s.ids[1] != s.ids[2] || s.ids[2] == s.ids[3] {
			t.Fatalf("the request ids of three attempts and one are %q", s.ids)
		}
		for n, err := range []error{first, second} {
			id := s.ids[2+n]
			if !regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(id) {
				t.Errorf("%q is not a valid request id", id)
			}
			if err == nil || !strings.Contains(err.Error(), id) || strings.Count(log.String(), "requestID="+id) != 1 {
				t.Errorf("call %s is neither in %v nor once in the log:\n%s", id, err, log.String())
			}
		}
	})
}

// A whole fleet may have got the same Retry-After at the same moment.
func TestRetryAfterIsSpreadByJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, jitter := range []float64{0, 0.5, 0.999} {
			s := &script{steps: []step{refuse(api.RateLimited, 429, "Retry-After", "4"), ok(api.Claim{})}}
			c, err := client.New(client.Config{URL: "http://allocator.test", Transport: s, Jitter: func() float64 { return jitter }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Claim(t.Context(), "n", "p", api.ClaimRequest{}); err != nil {
				t.Fatal(err)
			}
			want := 4*time.Second + time.Duration(jitter*float64(2*time.Second))
			if got := s.times[1].Sub(s.times[0]); got != want {
				t.Errorf("jitter %v: retried after %v, want %v", jitter, got, want)
			}
		}
	})
}
