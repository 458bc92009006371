package httpapi

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/shared/api"
)

const (
	// reviewFor is how long a review is believed. It is short, because a token
	// may be revoked; that its pod still exists is asked separately.
	reviewFor = 10 * time.Second
	// reviewsKept bounds the memory that strangers' tokens can take.
	reviewsKept = 4096
)

// prover proves callers and remembers good reviews for a moment by token hash.
type prover struct {
	callers Callers
	now     func() time.Time

	mu sync.Mutex
	// known is token hash → who it was.
	known map[[sha256.Size]byte]review
}

type review struct {
	caller kubepod.Caller
	until  time.Time
}

func newProver(callers Callers, now func() time.Time) *prover {
	return &prover{callers: callers, now: now, known: make(map[[sha256.Size]byte]review)}
}

// pod proves that the caller is the very pod of the path.
func (p *prover) pod(x echo.Context) (claim.Holder, error) {
	token, err := bearer(x)
	if err != nil {
		return claim.Holder{}, err
	}
	c, err := p.review(x.Request().Context(), token)
	if err != nil {
		return claim.Holder{}, err
	}
	if c.Namespace != x.Param("namespace") || c.Pod != x.Param("pod") {
		return claim.Holder{}, api.Errorf(api.Forbidden, "the token is pod %s/%s's: a pod can only act for itself", c.Namespace, c.Pod)
	}
	return claim.Holder{Namespace: c.Namespace, Pod: c.Pod, UID: c.PodUID}, nil
}

func (p *prover) review(ctx context.Context, token string) (kubepod.Caller, error) {
	key := sha256.Sum256([]byte(token))
	now := p.now()
	p.mu.Lock()
	r, ok := p.known[key]
	p.mu.Unlock()
	if ok && now.Before(r.until) {
		return r.caller, nil
	}
	c, err := p.callers.ReviewPod(ctx, token)
	if err != nil {
		return c, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= reviewsKept {
		clear(p.known)
	}
	p.known[key] = review{c, now.Add(reviewFor)}
	return c, nil
}

// bearer reads the token of the Authorization header.
func bearer(x echo.Context) (string, error) {
	scheme, token, ok := strings.Cut(x.Request().Header.Get(echo.HeaderAuthorization), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", api.Errorf(api.Unauthenticated, "no bearer token: send Authorization: Bearer with a Kubernetes token")
	}
	return token, nil
}
