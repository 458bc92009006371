package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/shared/api"
)

const (
	// podReviewFor is how long the review of a pod's token is believed: a little longer
	// than from one renewal to the next, so that every other renewal costs no review.
	// The token ends with its pod; that this still exists is asked separately where
	// something is granted.
	podReviewFor = 35 * time.Second
	// personReviewFor is short, because a person's token may be revoked.
	personReviewFor = 10 * time.Second
	// reviewTimeout bounds a review, which goes on when who asked first has gone.
	reviewTimeout = 10 * time.Second
	// reviewsKept bounds the memory for tokens, all of them good once: more than the
	// pods of the biggest fleet.
	reviewsKept = 4096
)

// tokenKind is whose token one is taken for. A token is good for one kind only:
// a pod's has api.Audience, a person's the API server's own.
type tokenKind byte

const (
	ofPod tokenKind = iota
	ofPerson
)

// tokenKey stands for a token, which is not kept itself.
type tokenKey struct {
	kind tokenKind
	hash [sha256.Size]byte
}

// reviews asks the API server whose a token is, and remembers the good answers
// for a moment. Many who ask for one token at once are one question.
type reviews struct {
	callers Callers
	now     func() time.Time
	flights singleflight.Group

	mu    sync.Mutex
	known *recent[tokenKey, review]
}

type review struct {
	caller kubepod.Caller
	// until is when it has to be asked again. It stays known after that, as a token
	// that was good.
	until time.Time
}

func newReviews(callers Callers, now func() time.Time) *reviews {
	return &reviews{callers: callers, now: now, known: newRecent[tokenKey, review](reviewsKept)}
}

// of gives whose token it is. mayAsk is asked before the API server is asked
// about a token that was never good.
func (r *reviews) of(ctx context.Context, kind tokenKind, token string, mayAsk func() error) (kubepod.Caller, error) {
	key := tokenKey{kind, sha256.Sum256([]byte(token))}
	r.mu.Lock()
	before, known := r.known.get(key)
	r.mu.Unlock()
	if known && r.now().Before(before.until) {
		return before.caller, nil
	}
	if !known {
		if err := mayAsk(); err != nil {
			return kubepod.Caller{}, err
		}
	}
	flight := r.flights.DoChan(string(kind)+string(key.hash[:]), func() (any, error) {
		// Others wait for this too: it must not end with whoever came first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		return r.ask(ctx, key, token)
	})
	select {
	case <-ctx.Done():
		return kubepod.Caller{}, context.Cause(ctx)
	case got := <-flight:
		c, _ := got.Val.(kubepod.Caller)
		return c, got.Err
	}
}

func (r *reviews) ask(ctx context.Context, key tokenKey, token string) (kubepod.Caller, error) {
	asked := r.now()
	prove, believed := r.callers.ReviewPod, podReviewFor
	if key.kind == ofPerson {
		prove, believed = r.callers.ReviewPerson, personReviewFor
	}
	c, err := prove(ctx, token)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.known.put(key, review{c, believedUntil(token, asked, believed)})
	case failedProof(err):
		r.known.drop(key)
	}
	return c, err
}

// failedProof tells a token that is no good from an API server that is not there.
func failedProof(err error) bool {
	return errors.Is(err, api.ErrForbidden) || errors.Is(err, errUnauthenticated)
}

var errUnauthenticated = &api.Problem{Code: api.Unauthenticated}

// believedUntil is when a token that was good at a time has to be reviewed
// again: at its own expiry, if that comes first. Only tokens that were reviewed
// are read, so what they say of themselves is the issuer's word. A clock that
// goes after the issuer's makes that late by as much, and never by more than most.
func believedUntil(token string, asked time.Time, most time.Duration) time.Time {
	until := asked.Add(most)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return until // not a JWT: what it is, only its issuer knows
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return until
	}
	var claims struct {
		Exp *float64 `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.Exp == nil {
		return until
	}
	if left := max(*claims.Exp-float64(asked.Unix()), 0); left < most.Seconds() {
		return asked.Add(time.Duration(left * float64(time.Second)))
	}
	return until
}
