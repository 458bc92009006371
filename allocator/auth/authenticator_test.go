package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/shared/api"
)

// tokenOf gives a token of a pod or admin.
func tokenOf(name string) string { return jwt(name, `{}`) }

// jwt gives a token of a pod or admin with a payload.
func jwt(name, payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(name)) + "." + encode([]byte(payload)) + "." + encode([]byte("signature"))
}

// nameIn gives whose token it is.
func nameIn(token string) string {
	encoded, _, _ := strings.Cut(token, ".")
	name, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		panic(err)
	}
	return string(name)
}

// reviewer accepts every token of tokenOf and jwt, and counts.
type reviewer struct {
	auth.Reviewer
	mu sync.Mutex // guards all below
	// reviews is name → how often a token of it was reviewed.
	reviews map[string]int
	// reject is what every review fails with; nil accepts.
	reject error
	// hang holds reviews up until it is closed; nil does not.
	hang chan struct{}
}

func (r *reviewer) review(ctx context.Context, token string) (string, error) {
	name := nameIn(token)
	r.mu.Lock()
	r.reviews[name]++
	reject, hang := r.reject, r.hang
	r.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return name, reject
}

func (r *reviewer) ReviewPod(ctx context.Context, token string) (auth.Caller, error) {
	pod, err := r.review(ctx, token)
	return auth.Caller{Namespace: "games", Pod: pod, PodUID: "uid-" + pod}, err
}

func (r *reviewer) ReviewAdmin(ctx context.Context, token string) (auth.Caller, error) {
	user, err := r.review(ctx, token)
	return auth.Caller{User: user}, err
}

// world is an Authenticator, its reviewer, its clock and the number of claims.
type world struct {
	*auth.Authenticator
	*reviewer
	now   time.Time
	fleet int
}

func newWorld() *world {
	w := &world{reviewer: &reviewer{reviews: make(map[string]int)}, now: time.Now()}
	w.Authenticator = auth.New(w.reviewer, func() time.Time { return w.now }, func() int { return w.fleet })
	return w
}

func admitAll() error { return nil }

// accept authenticates a pod that must be accepted.
func (w *world) accept(t *testing.T, token string) {
	t.Helper()
	pod := nameIn(token)
	if c, err := w.Pod(t.Context(), token, admitAll); err != nil || c.Pod != pod || c.PodUID != "uid-"+pod || c.Namespace != "games" {
		t.Fatalf("token %s: got %+v, %v", token, c, err)
	}
}

func TestPodReviewIsCachedForOneRenewal(t *testing.T) {
	w := newWorld()
	for range 3 {
		w.accept(t, tokenOf("game-0"))
	}
	w.accept(t, tokenOf("game-1"))
	w.now = w.now.Add(35*time.Second - 1)
	w.accept(t, tokenOf("game-0"))
	if w.reviews["game-0"] != 1 || w.reviews["game-1"] != 1 {
		t.Errorf("before it expires: reviewed %v", w.reviews)
	}
	w.now = w.now.Add(1)
	w.accept(t, tokenOf("game-0"))
	w.accept(t, tokenOf("game-0"))
	if w.reviews["game-0"] != 2 {
		t.Errorf("after it has expired: reviewed %v", w.reviews)
	}
}

func TestAdminReviewIsCachedBriefly(t *testing.T) {
	w := newWorld()
	for n, after := range []time.Duration{0, 10*time.Second - 1, 1} {
		w.now = w.now.Add(after)
		if c, err := w.Admin(t.Context(), tokenOf("alice"), admitAll); err != nil || c.User != "alice" {
			t.Fatalf("got %+v, %v", c, err)
		}
		if want := 1 + n/2; w.reviews["alice"] != want {
			t.Errorf("call %d: reviewed %d times, want %d", n, w.reviews["alice"], want)
		}
	}
}

func TestRejectionIsNotCached(t *testing.T) {
	w := newWorld()
	w.reject = api.Errorf(api.Unauthenticated, "the token has expired")
	for range 2 {
		if _, err := w.Pod(t.Context(), tokenOf("game-0"), admitAll); !auth.Rejected(err) {
			t.Errorf("got %v", err)
		}
	}
	w.reject = nil
	w.accept(t, tokenOf("game-0"))
	if w.reviews["game-0"] != 3 {
		t.Errorf("reviewed %v", w.reviews)
	}
}

func TestOnlyTokensThatWereNeverValidNeedAdmission(t *testing.T) {
	w := newWorld()
	errFull := errors.New("too many")
	refuse := func() error { return errFull }
	if _, err := w.Pod(t.Context(), tokenOf("game-0"), refuse); !errors.Is(err, errFull) || len(w.reviews) > 0 {
		t.Errorf("a new token: got %v, reviewed %v", err, w.reviews)
	}
	w.accept(t, tokenOf("game-0"))
	w.now = w.now.Add(time.Hour)
	if _, err := w.Pod(t.Context(), tokenOf("game-0"), refuse); err != nil || w.reviews["game-0"] != 2 {
		t.Errorf("a token that was valid: got %v, reviewed %v", err, w.reviews)
	}
	w.now = w.now.Add(time.Hour)
	w.reject = api.Errorf(api.Unauthenticated, "revoked")
	if _, err := w.Pod(t.Context(), tokenOf("game-0"), refuse); !auth.Rejected(err) {
		t.Errorf("a revoked token: got %v", err)
	}
	if _, err := w.Pod(t.Context(), tokenOf("game-0"), refuse); !errors.Is(err, errFull) || w.reviews["game-0"] != 3 {
		t.Errorf("a token known as revoked: got %v, reviewed %v", err, w.reviews)
	}
}

func TestReviewIsNotCachedPastTheTokensExpiry(t *testing.T) {
	for _, test := range []struct {
		name   string
		token  func(now time.Time) string
		cached time.Duration
	}{
		{"expires in an hour", func(now time.Time) string { return jwt("game-0", fmt.Sprintf(`{"exp":%d}`, now.Unix()+3600)) }, 35 * time.Second},
		{"expires in three seconds", func(now time.Time) string { return jwt("game-0", fmt.Sprintf(`{"exp":%d}`, now.Unix()+3)) }, 3 * time.Second},
		{"expired, by a clock that is fast", func(now time.Time) string { return jwt("game-0", fmt.Sprintf(`{"exp":%d}`, now.Unix()-1)) }, 0},
		{"an exponent", func(time.Time) string { return jwt("game-0", `{"exp":1e300}`) }, 35 * time.Second},
		{"no expiry", func(time.Time) string { return jwt("game-0", `{}`) }, 35 * time.Second},
		{"no JSON", func(time.Time) string { return jwt("game-0", `nonsense`) }, 35 * time.Second},
		{"an expiry that is no number", func(time.Time) string { return jwt("game-0", `{"exp":"soon"}`) }, 35 * time.Second},
	} {
		w := newWorld()
		w.now = w.now.Truncate(time.Second) // an expiry has whole seconds
		token := test.token(w.now)
		w.accept(t, token)
		w.now = w.now.Add(test.cached - 1)
		if w.accept(t, token); test.cached > 0 && w.reviews["game-0"] != 1 {
			t.Errorf("%s: reviewed again before %v", test.name, test.cached)
		}
		w.now = w.now.Add(1)
		before := w.reviews["game-0"]
		if w.accept(t, token); w.reviews["game-0"] != before+1 {
			t.Errorf("%s: cached for longer than %v", test.name, test.cached)
		}
	}
}

func TestConcurrentCallsWithOneTokenShareOneReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hang = make(chan struct{})
		var wait sync.WaitGroup
		errs := make([]error, 50)
		first, leave := context.WithCancel(t.Context())
		for n := range errs {
			ctx := t.Context()
			if n == 0 {
				ctx = first
			}
			wait.Go(func() { _, errs[n] = w.Pod(ctx, tokenOf("game-0"), admitAll) })
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		if !errors.Is(errs[0], context.Canceled) {
			t.Errorf("the first caller, which went away, got %v", errs[0])
		}
		close(w.hang)
		wait.Wait()
		for n, err := range errs[1:] {
			if err != nil {
				t.Errorf("caller %d got %v", n+1, err)
			}
		}
		if w.reviews["game-0"] != 1 {
			t.Errorf("the API server was asked %d times", w.reviews["game-0"])
		}
	})
}

func TestHangingReviewTimesOutAndIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hang = make(chan struct{})
		start := time.Now()
		if _, err := w.Pod(t.Context(), tokenOf("game-0"), admitAll); !errors.Is(err, context.DeadlineExceeded) || auth.Rejected(err) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("timed out after %v", took)
		}
		close(w.hang)
		w.accept(t, tokenOf("game-0"))
	})
}

func TestTokenIsCachedForOneKindOfCall(t *testing.T) {
	w := newWorld()
	w.accept(t, tokenOf("game-0"))
	w.reject = api.Errorf(api.Unauthenticated, "wrong audience")
	if _, err := w.Admin(t.Context(), tokenOf("game-0"), admitAll); !auth.Rejected(err) {
		t.Errorf("an admin's call with a pod's token: got %v", err)
	}
}
