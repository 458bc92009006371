package httpapi

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
)

const (
	// maxInFlight is how many requests run at once. Each is a few calls to the API
	// server one after the other, so this many use what its client allows. More would
	// only queue in that client.
	maxInFlight = 256
	// maxQueued is how many more wait, for queueTime at most. That smooths a fleet's
	// start and bounds the memory that a flood costs.
	maxQueued = 1024
	queueTime = 2 * time.Second
)

var errBusy = api.Errorf(api.Unavailable, "the allocator is overloaded; retry").WithRetryAfter(time.Second)

// admission bounds the requests in flight. Probes and metrics are exempt: an
// overloaded allocator is not dead, and its metrics are needed most then.
type admission struct {
	exempt map[string]http.Handler
	// admitted has one element for every request that runs or waits, running one for
	// every request that runs.
	admitted, running chan struct{}
}

func newAdmission(exempt map[string]http.Handler) *admission {
	return &admission{exempt: exempt, admitted: make(chan struct{}, maxInFlight+maxQueued), running: make(chan struct{}, maxInFlight)}
}

func (a *admission) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		if _, ok := a.exempt[x.Path()]; ok {
			return next(x)
		}
		select {
		case a.admitted <- struct{}{}:
			defer func() { <-a.admitted }()
		default:
			return errBusy
		}
		if err := a.wait(x); err != nil {
			return err
		}
		defer func() { <-a.running }()
		return next(x)
	}
}

// wait waits until the request may run.
func (a *admission) wait(x echo.Context) error {
	select {
	case a.running <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(queueTime)
	defer timeout.Stop()
	select {
	case a.running <- struct{}{}:
		return nil
	case <-timeout.C:
		return errBusy
	case <-x.Request().Context().Done():
		return errBusy // the caller went away
	}
}
