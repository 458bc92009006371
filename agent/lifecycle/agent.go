// Package lifecycle takes one pod through its life with a listener port: claim,
// bind, announce, hold, drain, release.
//
// Each phase is a file. A state is a function, leaving it is return, and its
// exit action is a defer. The ledger and AWS are the truth: nothing is kept on
// disk, and every step may be repeated, so an agent that was killed anywhere
// starts over, gets the same claim, compares it with what is in AWS and goes on.
//
// It changes in AWS only what carries its own fence. It does not promise that
// players get through the moment a port is bound: AWS takes up to minutes to
// forward.
package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// Pod is the pod that the agent lives in.
type Pod struct{ Namespace, Name, UID, IP string }

// Clock is all the time that the lifecycle knows.
type Clock struct {
	Now func() time.Time
	// Sleep waits, or gives the cause of ctx when that is over first.
	Sleep func(context.Context, time.Duration) error
	// Timeout is what context.WithTimeout is.
	Timeout func(context.Context, time.Duration) (context.Context, context.CancelFunc)
}

// Config is what an Agent needs; all of it is required.
type Config struct {
	Pod   Pod
	Pool  string
	Ports []api.Port
	// HealthPort is where the agent itself answers health checks over HTTP.
	HealthPort int
	// Drain is how long at most the port is kept after SIGTERM while the game still
	// listens; less if the pod's grace period ends before.
	Drain time.Duration
	// Listens tells whether the game listens on any target port.
	Listens func() (bool, error)
	// Deregister is how long flows are given after the pod was deregistered, before
	// its listeners are deleted; less if the pod's grace period ends before. 0: it is
	// not deregistered, the listeners are deleted at once.
	Deregister time.Duration
	// ReleaseTimeout bounds giving back, Deregister apart; what it does not suffice
	// for is the janitor's.
	ReleaseTimeout time.Duration

	Allocator    Allocator
	LoadBalancer LoadBalancer
	// Files tell the game server; it does not start before they are written.
	Files Announcer
	// OwnPod tells whoever watches pods. It may fail without holding anything up.
	OwnPod OwnPod
	Events Events
	// Settled is called when nothing is left to do but to hold the claim, which may
	// last for hours.
	Settled func()

	Clock Clock
	// Jitter gives numbers in [0,1).
	Jitter  func() float64
	Metrics *Metrics
	Log     *slog.Logger
}

// Allocator is what the agent asks of it: everything may be repeated. Errors
// that match an *api.Problem are decisions; after any other the outcome is
// unknown.
type Allocator interface {
	Claims
	Reports
	Renewals
	Releases
}

// LoadBalancer is what the agent does in ELBv2. After an error that is none of
// package elb's sentinels the outcome is unknown.
type LoadBalancer interface {
	Binds
	Describes
	Unbinds
}

// Agent lives one pod's life.
type Agent struct {
	Config

	status status
	words  words
	// throttled is how many calls AWS refused as too many and the allocator was not
	// told of yet. It is Run's goroutine's alone.
	throttled int
	// Of Run's goroutine alone, too: what the game said when it was last heeded;
	// whether the pod ends, and when at the latest if that is known.
	notReady bool
	health   health
	leaving  bool
	deadline time.Time
}

// New makes an agent that has not begun to live.
func New(c Config) *Agent {
	a := &Agent{Config: c}
	a.Allocator = telling{c.Allocator}
	a.Log = c.Log.With("holder", c.Pod.Namespace+"/"+c.Pod.Name)
	a.status.began(c.Clock.Now())
	return a
}

// errMoved ends hold when the ledger gave the claim other ports.
var errMoved = errors.New("the claim has other ports now")

// Run lives until ctx is over and then gives everything back, which takes up to
// Drain, Deregister and ReleaseTimeout longer. Closing hurry cuts the first two
// short. It returns
// nil once everything that time allowed is given back.
func (a *Agent) Run(ctx context.Context, hurry <-chan struct{}) error {
	h := newHolding()
	defer a.leave(ctx, hurry, h)
	for {
		err := a.claim(ctx, h)
		if err == nil {
			err = a.serve(ctx, h)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, api.ErrLost):
			a.lose(ctx, h, err)
			if a.leaving {
				return nil // who ends needs no other port
			}
		case errors.Is(err, errMoved):
			a.Log.WarnContext(ctx, "claim moved to other ports", "lease", leases(h.claim))
		default:
			return err
		}
	}
}

// serve binds, announces and holds one claim until it is lost or moved or ctx is
// over. The announcement does not outlive it, unless ctx is over: then leave
// decides.
func (a *Agent) serve(ctx context.Context, h *holding) error {
	if err := a.bind(ctx, h); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() == nil {
			a.withdraw(ctx, h)
		}
	}()
	if a.heed(ctx, h); !a.leaving {
		if err := a.announce(ctx, h); err != nil {
			return err
		}
	}
	return a.hold(ctx, h)
}

// leave is the end of life. ctx is over by then. A container that is only
// restarted leaves everything to its successor.
func (a *Agent) leave(ctx context.Context, hurry <-chan struct{}, h *holding) {
	ctx = context.WithoutCancel(ctx)
	if h.claim.UID == "" {
		return
	}
	listens := a.listens(ctx)
	if !a.leaving && !a.podEnds(ctx) && listens {
		a.Log.WarnContext(ctx, "stopped although the pod is not being deleted and the game still listens: the port is kept for the next agent")
		return
	}
	if h.announced {
		a.withdraw(ctx, h)
	}
	if listens {
		a.drain(ctx, hurry, h)
	}
	a.release(ctx, hurry, h)
}
