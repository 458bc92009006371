package httpapi

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

// Limits of what is done at one time.
const (
	// maxInFlight is how many requests are worked on. Each is a few calls to the API
	// server one after the other, so this many use what its client allows; more
	// would only wait there, where nobody can send them away.
	maxInFlight = 256
	// maxQueued is how many more wait their turn, for queueTime at most: a fleet
	// that starts at once is smoothed, and a flood costs no more memory than this.
	maxQueued = 1024
	queueTime = 2 * time.Second
)

var errBusy = api.Errorf(api.Unavailable, "the allocator has too much to do at this moment; ask again").WithRetryAfter(time.Second)

// admission bounds the requests in flight. Probes and metrics are exempt: a busy
// allocator is not a dead one, and its figures are wanted most then.
type admission struct {
	exempt map[string]http.Handler
	// inside has one element for every request that was let in or waits, working
	// one for every request that is worked on.
	inside, working chan struct{}
}

func newAdmission(exempt map[string]http.Handler) *admission {
	return &admission{exempt: exempt, inside: make(chan struct{}, maxInFlight+maxQueued), working: make(chan struct{}, maxInFlight)}
}

func (a *admission) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		if _, ok := a.exempt[x.Path()]; ok {
			return next(x)
		}
		select {
		case a.inside <- struct{}{}:
			defer func() { <-a.inside }()
		default:
			return errBusy
		}
		if err := a.enter(x); err != nil {
			return err
		}
		defer func() { <-a.working }()
		return next(x)
	}
}

// enter waits for a place to work.
func (a *admission) enter(x echo.Context) error {
	select {
	case a.working <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTimer(queueTime)
	defer patience.Stop()
	select {
	case a.working <- struct{}{}:
		return nil
	case <-patience.C:
		return errBusy
	case <-x.Request().Context().Done():
		return errBusy // the caller went away
	}
}
