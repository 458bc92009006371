package httpapi

import (
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/portlease/portlease/shared/api"
)

// queueTime is how long a call waits for its turn at most.
const queueTime = 2 * time.Second

var errBusy = api.Errorf(api.Unavailable, "the allocator is overloaded; retry").WithRetryAfter(time.Second)

// claimsRunning is how many claims run at a time. More would only make each take longer, and
// agents give up an answer that takes too long.
const claimsRunning = 32

// admission is what a call passes before it costs the allocator anything. Each kind of
// call has slots of its own: new claims, which come by the hundred when a fleet starts,
// never delay those of pods that hold ports. Altogether they use what the client of the
// API server allows; more would only queue there.
type admission struct {
	addresses *concurrency
	// collisions are reports that wait for AWS, holders all other calls of pods that hold
	// ports.
	claims, holders, collisions, admins slots
}

func newAdmission(now func() time.Time) *admission {
	return &admission{
		addresses: newConcurrency(callsPerAddress, "from one address"),
		claims:    newSlots(claimsRunning, 1024, now), holders: newSlots(112, 1024, now), collisions: newSlots(16, 128, now), admins: newSlots(32, 128, now),
	}
}

// bare gives what calls of one kind without a body pass, in that order.
func (a *admission) bare(s slots) []echo.MiddlewareFunc {
	return []echo.MiddlewareFunc{a.perAddress, sendLater, s.admit, middleware.ContextTimeout(requestTimeout)}
}

// body gives what calls of one kind with a body pass, in that order. A slow body, or a
// slow reader of the answer, holds one of its address's calls, but no slot.
func (a *admission) body(s slots) []echo.MiddlewareFunc {
	return []echo.MiddlewareFunc{a.perAddress, readBody, sendLater, s.admit, middleware.ContextTimeout(requestTimeout)}
}

func (a *admission) perAddress(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		leave, err := a.addresses.enter(peerAddress(x))
		if err != nil {
			return err
		}
		defer leave()
		return next(x)
	}
}

// slots bound the calls of one kind in progress. A short queue smooths a fleet's start
// and bounds the memory that a flood costs. A call that would wait for too long is refused
// at once.
type slots struct {
	// admitted has one element for every call that runs or waits, running one for every
	// call that runs.
	admitted, running chan struct{}
	*line
}

func newSlots(running, queued int, now func() time.Time) slots {
	return slots{make(chan struct{}, running+queued), make(chan struct{}, running), newLine(running, now)}
}

func (s slots) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		select {
		case s.admitted <- struct{}{}:
			defer func() { <-s.admitted }()
		default:
			return s.busy()
		}
		if ahead := len(s.admitted) - cap(s.running); s.wait(ahead) > queueTime {
			return s.busy()
		}
		if err := s.enter(x); err != nil {
			return err
		}
		begun := s.now()
		defer func() {
			s.served(s.now().Sub(begun))
			<-s.running
		}()
		return next(x)
	}
}

// busy refuses a call and says when to come back.
func (s slots) busy() error { return errBusy.WithRetryAfter(s.sendAway()) }

// enter waits until the call may run.
func (s slots) enter(x echo.Context) error {
	select {
	case s.running <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(queueTime)
	defer timeout.Stop()
	select {
	case s.running <- struct{}{}:
		return nil
	case <-timeout.C:
		return s.busy()
	case <-x.Request().Context().Done():
		return errBusy // the caller went away
	}
}
