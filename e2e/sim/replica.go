package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portlease/portlease/e2e/invariants"

	"github.com/portlease/portlease/allocator/admin"
	"github.com/portlease/portlease/allocator/auth"
	"github.com/portlease/portlease/allocator/budget"
	"github.com/portlease/portlease/allocator/claim"
	"github.com/portlease/portlease/allocator/httpapi"
	"github.com/portlease/portlease/allocator/inventory"
	"github.com/portlease/portlease/allocator/janitor"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/paced"
	"github.com/portlease/portlease/allocator/pacer"
	"github.com/portlease/portlease/allocator/poolfile"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Timing of the simulated installation: the defaults' proportions, shortened.
const (
	claimDuration = 60 * time.Second
	cooldown      = 40 * time.Second
	sweepEvery    = 2 * time.Second
)

// ledgerID of the simulated installation.
const ledgerID = "cluster-uid/portlease"

// replica is one running allocator.
type replica struct {
	*Process
	world    *World
	timing   Timing
	tables   tables
	pay      *pacer.Pacer
	stock    *inventory.Inventory
	observer *janitor.Observer
	janitor  *janitor.Janitor
	handler  http.Handler
	wake     chan struct{}
	swept    chan struct{}
	leading  atomic.Bool
	// stuck is until when its watches are stalled.
	stuck time.Time
	clock *clock
	// random decides how late its watches are.
	random *rand.Rand
	// files are the versions of the pool file on their way to it, and described asks
	// for the load balancers of the one that arrived.
	files     []delivery
	described atomic.Bool

	minting sync.Mutex // guards epochs
	epochs  int        // ever made
}

// Dependencies are what a replica calls. A test may break them.
type Dependencies struct {
	Claims  ledger.Claims
	Ports   ledger.Ports
	Cordons ledger.Cordons
	// JanitorPorts and JanitorGetPod are those of the janitor.
	JanitorPorts  ledger.Ports
	JanitorGetPod func(ctx context.Context, namespace, pod string) (*ledger.Pod, error)
	JanitorAWS    janitor.AWS
	// Monotonic is the clock that measures how old a change of the ledger is.
	Monotonic func() time.Time
}

func (w *World) startReplica(name string) *replica {
	w.starts[name]++
	p := newProcess(w.scheduler, fmt.Sprintf("%s#%d", name, w.starts[name]))
	own := randomFor(w.config.Seed, p.name)
	r := &replica{Process: p, timing: w.timing, world: w, wake: make(chan struct{}, 1), swept: make(chan struct{}, 1), clock: newClock(own), random: own}
	lag := func() time.Duration { return max(r.lag(), time.Until(r.stuck)) }
	r.tables = newTables(p, w.leases, lag)
	log := w.trace.logTo(p)
	aws, prepaid := elb.New(configuration(awsTransport{p, w.cloud}), nil), func(ctx context.Context, _ int) context.Context { return ctx }
	if w.scaled() {
		p.main, p.reviews = newGate(), newGate()
		aws, prepaid = paced.Client(aws, func() *pacer.Pacer { return r.pay }), paced.WithPrepaid
	}
	look := w.pods.look(p)
	deps := Dependencies{
		Claims: r.tables.claims, Ports: r.tables.ports, Cordons: r.tables.cordons, JanitorPorts: r.tables.ports, JanitorGetPod: look, JanitorAWS: aws,
		Monotonic: r.clock.now,
	}
	if w.config.Break != nil {
		w.config.Break(&deps)
	}
	r.observer = janitor.NewObserver(deps.Monotonic)
	r.pay = pacer.New(pacer.Config{
		Budgets: r.tables.budgets, Claims: r.tables.claims, Ports: r.tables.ports, Limits: budget.Default, Now: r.clock.now,
		RenewEvery: w.timing.RenewEvery, Age: r.observer.Age, Log: log, Count: func(string, string) {},
	})
	r.stock = inventory.New(inventory.Config{Ledger: ledgerID, AWS: aws, Ports: r.tables.ports, Cordons: deps.Cordons, Log: log}, []poolfile.Pool{w.pool})
	service := claim.New(claim.Config{
		Ledger: ledgerID, Claims: deps.Claims, Ports: deps.Ports, Pools: r.stock, GetPod: look,
		TargetGroupName: elb.TargetGroupName, Duration: w.timing.ClaimDuration, RenewEvery: w.timing.RenewEvery, ReturnPatience: 30 * time.Second,
		Propagation: w.cloud.propagation, InUseWindow: w.cloud.inUseWindow,
		UnbindEvery: budget.Default().UnbindEvery,
		Budget:      r.pay, Age: r.observer.Age, Count: func(string, string) {}, Passed: func(string, string, time.Duration) {}, Now: r.clock.wall, NewEpoch: r.newEpoch, Log: log,
		WakeJanitor: func() {
			signal(r.wake)
		},
		Both: together,
	})
	r.janitor = janitor.New(janitor.Config{
		Ledger: ledgerID, Claims: deps.Claims, Ports: deps.JanitorPorts, AWS: deps.JanitorAWS, Listings: r.stock, Observer: r.observer,
		Timing:           janitor.Timing{AgentGrace: w.timing.AgentGrace, ClaimDuration: w.timing.ClaimDuration, DeregisterGrace: w.timing.DeregisterGrace, TargetGroupLag: w.timing.TargetGroupLag, InUseWindow: w.cloud.inUseWindow},
		ReserveDeletions: r.pay.Delete, ReserveDeregister: r.pay.Deregister, TryDescribes: r.pay.TryDescribes, Prepaid: prepaid,
		GetPod: deps.JanitorGetPod, Now: r.clock.now, NewEpoch: r.newEpoch, Log: log,
		Warn:  func(context.Context, string, string, string, string, string) error { return nil }, // events are not checked here
		Count: func(string, string) {},
	})
	admins := admin.New(admin.Config{
		Claims: deps.Claims, Ports: deps.Ports, Cordons: r.tables.cordons, Stock: r.stock,
		Show: service.Show, GetPod: look, Now: r.clock.wall, Log: log,
	})
	fleet := func() int { return len(r.tables.claims.CachedAll()) }
	if w.scaled() { // allocator/app counts them every ten seconds
		fleet = w.leases.Claims.Len
	}
	r.handler = httpapi.New(httpapi.Config{
		Claims: service, Views: admins, Operations: admins, Auth: auth.New(callers{p, w.pods}, r.clock.now, fleet), Now: r.clock.now, Log: log,
		Fleet: fleet, Metrics: http.NotFoundHandler(), Observe: func(httpapi.Answer) {},
	})
	complain := func(ctx context.Context, what string, err error) {
		log.WarnContext(ctx, "housekeeping failed", "what", what, "err", err)
	}
	go r.audits(onThread(p.ctx, "audits"), complain)
	go r.sweeps(onThread(p.ctx, "sweeps"), complain)
	go r.unbinds(onThread(p.ctx, "unbinds"), complain)
	w.trace.add("-- replica %s starts", r.name)
	return r
}

// kill ends the replica with its watches.
func (r *replica) kill() {
	r.Process.kill()
	r.tables.close()
}

// lag is how late the next event of a watch comes.
func (r *replica) lag() time.Duration {
	if !r.world.faults.on || r.random.IntN(20) > 0 {
		return time.Duration(1+r.random.IntN(100)) * time.Millisecond
	}
	return time.Duration(r.random.IntN(5000)) * time.Millisecond
}

func (r *replica) newEpoch() string {
	r.minting.Lock()
	defer r.minting.Unlock()
	r.epochs++
	return fmt.Sprintf("epoch-%s-%d", strings.ReplaceAll(r.name, "#", "-"), r.epochs)
}

// signal never blocks: one pending signal is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// audits, sweeps and unbinds are the loops of the allocator's process, with their own
// timing.
func (r *replica) audits(ctx context.Context, complain func(context.Context, string, error)) {
	var describe, audit time.Time
	for r.await(ctx, nil, r.timing.SweepEvery) {
		now := r.clock.now()
		if r.described.Swap(false) {
			describe, audit = now, now // what is new is used once it is listed
		}
		if !now.Before(describe) {
			next := r.timing.DescribeEvery
			if err := r.stock.Describe(r.following(ctx, inventory.FirstReads(r.stock.Unread()))); err != nil {
				complain(ctx, "load balancers not described", err)
				next = r.timing.DescribeRetry
			}
			describe = now.Add(next)
		}
		if !now.Before(audit) {
			r.act(ctx, complain, "audit incomplete", r.janitor.Audit, func(ctx context.Context) error {
				_, err := r.stock.List(r.following(ctx, len(r.stock.States())))
				return err
			})
			audit = now.Add(r.timing.AuditEvery)
			if !r.leading.Load() {
				audit = now.Add(r.timing.StandbyAudits * r.timing.AuditEvery)
			}
		}
	}
}

func (r *replica) sweeps(ctx context.Context, complain func(context.Context, string, error)) {
	for r.await(ctx, r.wake, r.timing.SweepEvery) {
		r.act(ctx, complain, "sweep incomplete", r.janitor.Sweep, func(context.Context) error {
			r.observer.Observe(r.tables.claims.CachedAll(), r.tables.ports.CachedAll())
			return nil
		})
		signal(r.swept)
	}
}

func (r *replica) unbinds(ctx context.Context, complain func(context.Context, string, error)) {
	for r.await(ctx, r.swept, r.timing.SweepEvery) {
		r.act(ctx, complain, "ports not unbound", r.janitor.UnbindReleasing, func(context.Context) error { return nil })
	}
}

// following is that of allocator/app.
func (r *replica) following(ctx context.Context, calls int) context.Context {
	return paced.Following(ctx, calls, budget.Default().DescribesPerSecond(), r.clock.now, r.leading.Load)
}

// await waits for a wake-up, at most for a time by the replica's own clock. It returns
// false when the replica ends. Go selects at random among ready channels, and a run must be
// repeatable: a wake-up comes first.
func (r *replica) await(ctx context.Context, wake <-chan struct{}, most time.Duration) bool {
	select {
	case <-wake:
		return ctx.Err() == nil
	default:
	}
	timer := time.NewTimer(r.clock.real(most))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return ctx.Err() == nil
}

// act runs lead on the leader and follow on the other replicas.
func (r *replica) act(ctx context.Context, complain func(context.Context, string, error), what string, lead, follow func(context.Context) error) {
	ctx, cancel := r.clock.timeout(ctx, r.timing.ActTimeout)
	defer cancel()
	do := follow
	if r.leading.Load() {
		do = lead
	}
	if err := do(ctx); err != nil {
		complain(ctx, what, err)
	}
}

// together is claim.AtOnce with a thread of its own for the second function, so that the seed
// decides which call comes first.
func together(ctx context.Context, first, second func(context.Context)) {
	var running sync.WaitGroup
	running.Go(func() { second(onThread(ctx, threadOf(ctx)+" beside")) })
	first(ctx)
	running.Wait()
}

// serve answers one request of an agent; it runs on a goroutine of its own, and
// gives the answer through the scheduler, which may lose it.
func (r *replica) serve(request *call, thread, method string, target *url.URL, header http.Header, body []byte, from string) {
	ctx := onThread(r.ctx, thread)
	req := httptest.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	req.Header = header
	if r.world.scaled() { // the few pods of other runs have one address
		req.RemoteAddr = net.JoinHostPort(from, "40000")
	}
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, req)
	answer := reply{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
	o := r.do(ctx, &call{kind: kindAnswer, what: "answer " + request.process.name, apply: func(*call) (outcome, bool) {
		if answer.status == api.Internal.Status() {
			r.world.violate(invariants.Violated("the allocator", "%s %s was answered %d: %s", method, target.Path, answer.status, answer.body))
		}
		request.finish(outcome{value: answer})
		return outcome{value: answer}, true
	}})
	if errors.Is(o.err, errKilled) || errors.Is(o.err, errRefused) {
		r.world.cutOff(request)
	}
}
