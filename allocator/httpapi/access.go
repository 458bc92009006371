package httpapi

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/shared/api"
)

// access authenticates callers and holds each to its rate limit.
type access struct {
	authenticator *auth.Authenticator
	// Pods and admins are limited by their authenticated identity, and reviews of new
	// tokens by the address that they come from. describes are the calls to AWS that are
	// made for a pod.
	pods, admins, reviews, describes *limiter
	podCalls                         *concurrency
}

func newAccess(c Config) *access {
	return &access{
		authenticator: c.Auth,
		pods:          newLimiter(podRateLimit, c), admins: newLimiter(adminRateLimit, c), reviews: newLimiter(reviewRateLimit, c),
		describes: newLimiter(describeRateLimit, c), podCalls: newConcurrency(callsPerPod, "of one pod"),
	}
}

// pod authenticates the pod of the path.
func (a *access) pod(x echo.Context) (claim.Holder, error) {
	c, err := a.authenticate(x, a.authenticator.Pod)
	if err != nil {
		return claim.Holder{}, err
	}
	if err := a.pods.take(c.PodUID); err != nil {
		return claim.Holder{}, err
	}
	if c.Namespace != x.Param("namespace") || c.Pod != x.Param("pod") {
		return claim.Holder{}, api.Errorf(api.Forbidden, "the token is pod %s/%s's: a pod can only act for itself", c.Namespace, c.Pod)
	}
	return claim.Holder{Namespace: c.Namespace, Pod: c.Pod, UID: c.PodUID, Address: podAddress(x.Request().RemoteAddr)}, nil
}

// podCall is a call of an authenticated pod.
type podCall func(x echo.Context, h claim.Holder) error

// asPod makes a handler of a call: it authenticates the pod first.
func (a *access) asPod(call podCall) echo.HandlerFunc {
	return func(x echo.Context) error {
		h, err := a.pod(x)
		if err != nil {
			return err
		}
		leave, err := a.podCalls.enter(h.UID)
		if err != nil {
			return err
		}
		defer leave()
		x.SetRequest(x.Request().WithContext(WithCharge(x.Request().Context(), func(calls int) error { return a.describes.takeN(h.UID, calls) })))
		return call(x, h)
	}
}

// ifAlive makes a call only if the pod exists at this moment: its token may have been
// reviewed before it was deleted.
func (a *access) ifAlive(call podCall) podCall {
	return func(x echo.Context, h claim.Holder) error {
		if err := a.authenticator.CheckAlive(x.Request().Context(), auth.Caller{Namespace: h.Namespace, Pod: h.Pod, PodUID: h.UID}); err != nil {
			return err
		}
		return call(x, h)
	}
}

// admin authenticates an admin and checks that they may do verb on Leases. It gives
// the name that the API server knows them by.
func (a *access) admin(x echo.Context, verb string) (user string, err error) {
	c, err := a.authenticate(x, a.authenticator.Admin)
	if err != nil {
		return "", err
	}
	if err := a.admins.take(c.User); err != nil {
		return "", err
	}
	return c.User, a.authenticator.Authorize(x.Request().Context(), c, verb)
}

// authenticate checks the token of a request. An address that sends many new tokens,
// valid or not, has to wait before it costs another call to the API server.
func (a *access) authenticate(x echo.Context, check func(ctx context.Context, token string, admit func() error) (auth.Caller, error)) (auth.Caller, error) {
	token, err := bearerToken(x)
	if err != nil {
		return auth.Caller{}, err
	}
	return check(x.Request().Context(), token, func() error { return a.reviews.take(peerAddress(x)) })
}

// podAddress is the peer's address as the API server would write a pod's. Behind a
// proxy it is the proxy's, and no pod's.
func podAddress(remote string) string {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	return peer.Addr().Unmap().WithZone("").String()
}

// peerAddress is where the connection comes from. Headers such as X-Forwarded-For are
// ignored: a caller could put any number of addresses there.
func peerAddress(x echo.Context) string {
	host, _, err := net.SplitHostPort(x.Request().RemoteAddr)
	if err != nil {
		return x.Request().RemoteAddr
	}
	return host
}

// bearerToken reads the token of the Authorization header.
func bearerToken(x echo.Context) (string, error) {
	scheme, token, ok := strings.Cut(x.Request().Header.Get(echo.HeaderAuthorization), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", api.Errorf(api.Unauthenticated, "no bearer token: send Authorization: Bearer with a Kubernetes token")
	}
	return token, nil
}
