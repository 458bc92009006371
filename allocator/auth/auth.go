// Package auth authenticates and authorizes the callers of the API with the
// Kubernetes API server: pods by their projected service-account tokens, admins by
// tokens that were made for them.
//
// Valid tokens are cached for a moment, so that a fleet's renewals do not cost a
// TokenReview each. Rejected tokens are not cached, and what is not spelled as a token
// is rejected without a review. A cached review may outlive the pod: calls that grant
// something check in addition that the pod exists.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/portlease/portlease/shared/api"
)

const (
	// podReviewTTL is a little longer than one renewal interval, so that every other
	// renewal costs no review. The token ends with its pod.
	podReviewTTL = 35 * time.Second
	// adminReviewTTL is short, because an admin's token may be revoked.
	adminReviewTTL = 10 * time.Second
	// reviewTimeout bounds a review, which continues after its first caller has gone.
	reviewTimeout = 10 * time.Second
)

// Caller is the identity behind a token.
type Caller struct {
	// Namespace, Pod and PodUID are set for a token that is bound to a pod and
	// made for api.Audience.
	Namespace, Pod, PodUID string
	// User, UID, Groups and Extra are what authorization is asked for with.
	User, UID string
	Groups    []string
	Extra     map[string][]string
}

// name tells callers of one kind apart.
func (c Caller) name() string {
	if c.PodUID != "" {
		return c.PodUID
	}
	return c.User
}

// Reviewer asks the API server about tokens and rights. Its errors are problems:
// api.Unauthenticated, api.Forbidden, or api.Unavailable if the API server failed.
type Reviewer interface {
	// ReviewPod takes only a token that is bound to a pod, for api.Audience.
	ReviewPod(ctx context.Context, token string) (Caller, error)
	// ReviewAdmin takes any token for api.AdminAudience.
	ReviewAdmin(ctx context.Context, token string) (Caller, error)
	// Authorize checks that a caller may do verb on the Leases of the allocator's
	// namespace.
	Authorize(ctx context.Context, c Caller, verb string) error
	// CheckAlive checks, by a consistent read, that a caller's pod exists and has
	// not ended.
	CheckAlive(ctx context.Context, c Caller) error
}

// Authenticator is a Reviewer with a cache. Concurrent calls with one token share
// one review.
type Authenticator struct {
	reviewer Reviewer
	now      func() time.Time
	flights  singleflight.Group
	// accepted are the tokens of each kind that were valid.
	accepted [kinds]*cache
}

// tokenKind separates the two kinds of token. A token is good for one kind only: a
// pod's has api.Audience, an admin's api.AdminAudience.
type tokenKind byte

const (
	podToken tokenKind = iota
	adminToken
	kinds
)

// New makes an Authenticator. fleet gives how many pods have a claim at this moment; the
// caches grow with it.
func New(reviewer Reviewer, now func() time.Time, fleet func() int) *Authenticator {
	a := &Authenticator{reviewer: reviewer, now: now}
	for kind := range a.accepted {
		a.accepted[kind] = newCache(fleet)
	}
	return a
}

// Pod authenticates a pod. admit is called before the API server is asked about a
// token that is not known to have been valid; its error ends the call.
func (a *Authenticator) Pod(ctx context.Context, token string, admit func() error) (Caller, error) {
	return a.authenticate(ctx, podToken, token, admit)
}

// Admin authenticates an admin. admit is as with Pod.
func (a *Authenticator) Admin(ctx context.Context, token string, admit func() error) (Caller, error) {
	return a.authenticate(ctx, adminToken, token, admit)
}

// Authorize checks that an admin may do verb on the Leases of the allocator's
// namespace. It is not cached.
func (a *Authenticator) Authorize(ctx context.Context, c Caller, verb string) error {
	return a.reviewer.Authorize(ctx, c, verb)
}

// CheckAlive checks that a caller's pod exists at this moment, whatever is cached of
// its token.
func (a *Authenticator) CheckAlive(ctx context.Context, c Caller) error {
	return a.reviewer.CheckAlive(ctx, c)
}

// Rejected reports whether an error means that the token is not valid, rather than
// that the API server failed.
func Rejected(err error) bool {
	return errors.Is(err, api.ErrForbidden) || errors.Is(err, errUnauthenticated)
}

var errUnauthenticated = &api.Problem{Code: api.Unauthenticated}

func (a *Authenticator) authenticate(ctx context.Context, kind tokenKind, token string, admit func() error) (Caller, error) {
	if !wellFormed(token) {
		return Caller{}, api.Errorf(api.Unauthenticated, "this is not a Kubernetes token: send it as kubectl create token prints it or the kubelet mounts it")
	}
	accepted, hash := a.accepted[kind], tokenHash(sha256.Sum256([]byte(token)))
	cached, known := accepted.get(hash)
	if known && a.now().Before(cached.expires) {
		return cached.caller, nil
	}
	if !known {
		if err := admit(); err != nil {
			return Caller{}, err
		}
	}
	flight := a.flights.DoChan(string(kind)+string(hash[:]), func() (any, error) {
		// Others wait for this too: it must not end with its first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		return a.review(ctx, kind, token, hash)
	})
	select {
	case <-ctx.Done():
		return Caller{}, context.Cause(ctx)
	case got := <-flight:
		c, _ := got.Val.(Caller)
		return c, got.Err
	}
}

// review asks the API server and caches the outcome.
func (a *Authenticator) review(ctx context.Context, kind tokenKind, token string, hash tokenHash) (Caller, error) {
	asked := a.now()
	ask, ttl := a.reviewer.ReviewPod, podReviewTTL
	if kind == adminToken {
		ask, ttl = a.reviewer.ReviewAdmin, adminReviewTTL
	}
	c, err := ask(ctx, token)
	switch {
	case err == nil:
		a.accepted[kind].add(hash, review{c, expiryOf(token, asked, ttl)})
	case Rejected(err):
		a.accepted[kind].remove(hash)
	}
	return c, err
}
