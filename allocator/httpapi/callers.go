package httpapi

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/kubepod"
	"github.com/portlease/portlease/shared/api"
)

// prover proves who calls, and keeps each caller to its budget.
type prover struct {
	callers Callers
	reviews *reviews
	// pods and people are limited by who they proved to be, strangers by their
	// address.
	pods, people, strangers *limiter
}

func newProver(callers Callers, now func() time.Time) *prover {
	return &prover{
		callers: callers, reviews: newReviews(callers, now),
		pods: newLimiter(podBudget, now), people: newLimiter(personBudget, now), strangers: newLimiter(strangerBudget, now),
	}
}

// pod proves that the caller is the very pod of the path.
func (p *prover) pod(x echo.Context) (claim.Holder, error) {
	c, err := p.caller(x, ofPod)
	if err != nil {
		return claim.Holder{}, err
	}
	if err := p.pods.take(c.PodUID); err != nil {
		return claim.Holder{}, err
	}
	if c.Namespace != x.Param("namespace") || c.Pod != x.Param("pod") {
		return claim.Holder{}, api.Errorf(api.Forbidden, "the token is pod %s/%s's: a pod can only act for itself", c.Namespace, c.Pod)
	}
	return claim.Holder{Namespace: c.Namespace, Pod: c.Pod, UID: c.PodUID, Address: address(x.Request().RemoteAddr)}, nil
}

// address is that of the peer as the API server would write it. Where something is
// between, such as a proxy, it is that one's, which is no pod's that calls.
func address(remote string) string {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	return peer.Addr().Unmap().WithZone("").String()
}

// living is pod, and the pod exists at this moment, whatever was remembered of
// its token.
func (p *prover) living(x echo.Context) (claim.Holder, error) {
	h, err := p.pod(x)
	if err != nil {
		return h, err
	}
	return h, p.callers.Alive(x.Request().Context(), kubepod.Caller{Namespace: h.Namespace, Pod: h.Pod, PodUID: h.UID})
}

// person proves who the caller is; what he may do is another question.
func (p *prover) person(x echo.Context) (kubepod.Caller, error) {
	c, err := p.caller(x, ofPerson)
	if err != nil {
		return c, err
	}
	return c, p.people.take(c.User)
}

// caller reviews the token of a request. An address with too many failed proofs
// is told to wait before any call to the API server is spent on it. Those that
// are under way at one moment may overrun the budget: not knowing yet that they
// fail, it cannot count them.
func (p *prover) caller(x echo.Context, kind tokenKind) (kubepod.Caller, error) {
	token, err := bearer(x)
	if err != nil {
		return kubepod.Caller{}, err
	}
	address := remoteAddress(x)
	c, err := p.reviews.of(x.Request().Context(), kind, token, func() error { return p.strangers.left(address) })
	if failedProof(err) {
		if err := p.strangers.take(address); err != nil {
			return c, err
		}
	}
	return c, err
}

// remoteAddress is where the connection comes from. Headers that say otherwise
// are the caller's own claim, and would make it as many strangers as it likes.
func remoteAddress(x echo.Context) string {
	host, _, err := net.SplitHostPort(x.Request().RemoteAddr)
	if err != nil {
		return x.Request().RemoteAddr
	}
	return host
}

// bearer reads the token of the Authorization header.
func bearer(x echo.Context) (string, error) {
	scheme, token, ok := strings.Cut(x.Request().Header.Get(echo.HeaderAuthorization), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", api.Errorf(api.Unauthenticated, "no bearer token: send Authorization: Bearer with a Kubernetes token")
	}
	return token, nil
}
