// Package lifecycle takes one pod through its life with listener ports: claim, bind,
// announce, hold, drain, release.
//
// Each phase is a file and a value with what it needs. A state is a function,
// leaving it is return, and its exit action is a defer. The ledger and AWS are the
// truth: nothing is kept on disk and every step may be repeated. An agent that was
// killed anywhere starts over, gets the same claim, compares it with AWS and goes on.
package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/agent/signals"
	"github.com/portlease/portlease/shared/api"
)

// Config is what an Agent needs; all of it is required.
type Config struct {
	Pod   pod.Identity
	Pool  string
	Ports []api.Port
	// HealthPort is where the agent itself answers health checks over HTTP.
	HealthPort int
	// Drain is how long the port is kept after SIGTERM while the game still listens.
	// The pod's grace period cuts it short.
	Drain time.Duration
	// Listens reports whether the game listens on any target port.
	Listens func() (bool, error)
	// Game takes a look at the game every few seconds: problem is why it does not run, empty
	// if it does. The error is that this could not be found out.
	Game func(ctx context.Context) (problem string, err error)
	// Deregister is the time between deregistering the pod and deleting its listeners.
	// The pod's grace period cuts it short; 0 deletes at once.
	Deregister time.Duration
	// ReleaseTimeout bounds the release, Deregister not counted. The janitor does what
	// is left after it.
	ReleaseTimeout time.Duration

	Allocator    Allocator
	LoadBalancer binder.LoadBalancer
	// Files tell the game server; it does not start before they are written.
	Files reporter.Announcer
	// OwnPod may fail without holding anything up.
	OwnPod OwnPod
	Events reporter.Events
	// OnHolding is called when nothing is left to do but to hold the claim, which may
	// last for hours.
	OnHolding func()

	Clock clock.Clock
	// Jitter gives numbers in [0,1).
	Jitter  func() float64
	Metrics *metrics.Set
	Log     *slog.Logger
}

// OwnPod writes on the agent's own pod, and knows from the API server's answers
// whether it terminates.
type OwnPod interface {
	reporter.Pod
	Terminations
}

// Agent lives one pod's life. Signals and probes may come from any goroutine.
type Agent struct {
	*signals.Signals
	*status

	log         *slog.Logger
	reporter    *reporter.Reporter
	counters    counters
	termination *termination
	reach       *reachability
	watch       *watch
	milestones  *milestones

	claims   *claims
	bind     *bindPhase
	announce *announcePhase
	hold     *holdPhase
	drain    *drainPhase
	release  *releasePhase
}

// New makes an agent. It does nothing before Run.
func New(c Config) *Agent {
	c.Allocator = unreachableMarked{c.Allocator}
	c.Log = c.Log.With("holder", c.Pod.Namespace+"/"+c.Pod.Name)
	a := &Agent{Signals: new(signals.Signals), status: newStatus(c.Clock.Now), log: c.Log, counters: newCounters(c.Metrics)}
	e := env{clock: a.watched(c.Clock), jitter: c.Jitter, failures: failure.Log{Metrics: c.Metrics, Logger: c.Log}, log: c.Log}
	e.reporter = reporter.New(reporter.Config{
		Files: c.Files, Pod: c.OwnPod, Events: c.Events, Clock: e.clock, Failures: e.failures, Log: e.log,
	})
	ports := binder.New(binder.Config{
		Pod: c.Pod, LoadBalancer: c.LoadBalancer, Reports: c.Allocator, Clock: e.clock, Jitter: e.jitter, Failures: e.failures, Log: e.log,
	})
	a.reporter = e.reporter
	a.termination = &termination{env: e, pod: c.OwnPod}
	a.milestones = &milestones{clock: e.clock}
	a.reach = &reachability{env: e, status: a.status, counters: a.counters, milestones: a.milestones, onHolding: c.OnHolding}
	a.watch = &watch{env: e, clock: c.Clock, look: c.Game, reach: a.reach, signals: a.Signals, counters: a.counters}
	a.claims = &claims{
		env: e, allocator: c.Allocator, binder: ports, reach: a.reach, counters: a.counters, milestones: a.milestones,
		pod: c.Pod, pool: c.Pool, ports: c.Ports, healthPort: c.HealthPort,
	}
	a.bind = &bindPhase{env: e, binder: ports, claims: a.claims, reach: a.reach, status: a.status, counters: a.counters}
	a.announce = &announcePhase{env: e, reach: a.reach, status: a.status, termination: a.termination}
	a.hold = &holdPhase{
		env: e, signals: a.Signals, binder: ports, claims: a.claims, bind: a.bind, announce: a.announce,
		reach: a.reach, termination: a.termination,
	}
	a.drain = &drainPhase{
		env: e, signals: a.Signals, claims: a.claims, termination: a.termination, game: c.Listens, most: c.Drain, deregister: c.Deregister,
	}
	a.release = &releasePhase{
		env: e, allocator: c.Allocator, binder: ports, counters: a.counters, termination: a.termination,
		pod: c.Pod, deregister: c.Deregister, timeout: c.ReleaseTimeout,
	}
	return a
}

// withdrawPause is between two attempts to withdraw when there is nothing else to do.
const withdrawPause = 2 * time.Second

// Run lives until ctx is over and then releases the claim, which takes up to Drain,
// Deregister and ReleaseTimeout longer. Closing hurry cuts the first two short. It
// returns nil once it has released all that time allowed.
func (a *Agent) Run(ctx context.Context, hurry <-chan struct{}) error {
	defer a.startWatch(ctx)()
	h := holding.New()
	defer a.stop(ctx, hurry, h)
	for {
		a.reach.claiming()
		a.milestones.ask()
		err := a.claims.acquire(ctx, h)
		if err == nil {
			a.milestones.grant(h.HasListener())
			err = a.serve(ctx, h)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, api.ErrLost):
			a.lose(ctx, h, err)
			if a.termination.begun {
				return nil // a terminating pod needs no other port
			}
		case errors.Is(err, errMoved):
			a.log.WarnContext(ctx, "claim moved to other ports", "lease", h.Leases())
		default:
			return err
		}
	}
}

// startWatch starts the watch, which goes on until stop is called: players may play
// while the claim is released.
func (a *Agent) startWatch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { a.watch.run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// HealthCheck is nil if the pod is healthy. byLoadBalancer is whether a load balancer
// asks.
func (a *Agent) HealthCheck(byLoadBalancer bool) error {
	err := a.GameAnswers()
	if err == nil {
		err = a.reach.gameRuns()
	}
	if byLoadBalancer {
		a.reach.checked(err == nil)
	}
	return err
}

// serve binds, announces and holds one claim until it is lost or moved or ctx is
// over. In the last case stop decides about the announcement.
func (a *Agent) serve(ctx context.Context, h *holding.Holding) error {
	if err := a.bind.run(ctx, h); err != nil {
		return err
	}
	a.milestones.bind()
	defer func() {
		if ctx.Err() == nil {
			a.announce.withdraw(ctx, h)
		}
	}()
	a.hold.applySignals(ctx, h)
	if err := a.announce.run(ctx, h); err != nil {
		return err
	}
	a.milestones.announce()
	return a.hold.run(ctx, h)
}

// lose gives up a claim that is over and withdrawn. It unbinds what can be unbound
// quickly; the janitor does the rest.
func (a *Agent) lose(ctx context.Context, h *holding.Holding, reason error) {
	a.counters.lost.Inc()
	a.counters.bound.Set(0)
	a.reach.stop()
	a.log.ErrorContext(ctx, "claim lost; claiming again", "lease", h.Leases(), "err", reason)
	a.reporter.Event(ctx, pod.Warning, reporter.ReasonClaimLost, reason.Error())
	h.Drop()
	a.bind.unbindLeftovers(ctx, h)
}

// stop ends the life; ctx is over or the agent failed. If only the container is
// restarted, the next agent of the pod takes over everything. SIGTERM may come before the
// call of the preStop hook was applied.
func (a *Agent) stop(ctx context.Context, hurry <-chan struct{}, h *holding.Holding) {
	ctx = context.WithoutCancel(ctx)
	if h.Claim.UID == "" {
		return
	}
	if h.Announced && a.Signals.Read().Stopping {
		a.announce.withdraw(ctx, h)
	}
	listens := a.drain.gameListens(ctx)
	if !a.termination.begun && !a.termination.check(ctx) && listens {
		a.log.WarnContext(ctx, "stopped without a release because the pod is not being deleted and the game still listens; the next agent takes over")
		return
	}
	if h.Announced {
		a.announce.withdraw(ctx, h)
	}
	if listens {
		a.drain.run(ctx, hurry, h)
	}
	a.release.run(ctx, hurry, h)
	a.finishWithdrawal(ctx, hurry)
}

// finishWithdrawal goes on removing what was announced on the pod, if that has failed, for
// as long as a release may take.
func (a *Agent) finishWithdrawal(ctx context.Context, hurry <-chan struct{}) {
	ctx, cancel := a.release.clock.Timeout(ctx, a.release.timeout)
	defer cancel()
	ctx, stop := hurried(ctx, hurry)
	defer stop()
	for !a.reporter.Withdrawn(ctx) {
		if a.release.clock.Sleep(ctx, withdrawPause) != nil {
			return
		}
	}
}
