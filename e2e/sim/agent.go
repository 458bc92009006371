package sim

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	agentclock "github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/lifecycle"
	podtypes "github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/client"
	"github.com/portlease/portlease/shared/elb"
)

// agent is one running agent process of a pod.
type agent struct {
	*Process
	*lifecycle.Agent
	pod   *pod
	ip    string
	board *board
	// ended is closed when the process has ended by itself.
	ended chan struct{}
}

// board records what an agent announces.
type board struct {
	mu    sync.Mutex
	claim api.Claim // zero while nothing is announced
	// first is called with the first announcement.
	first func()
}

// Announce implements reporter.Announcer.
func (b *board) Announce(_ context.Context, c api.Claim) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claim = c
	if b.first != nil {
		b.first()
		b.first = nil
	}
	return nil
}

// Withdraw implements reporter.Announcer.
func (b *board) Withdraw(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claim = api.Claim{}
	return nil
}

// announced is what the agent announces now; zero if nothing.
func (b *board) announced() api.Claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.claim
}

// silent is a pod without annotations, conditions and events.
type silent struct{}

// Announce implements reporter.Announcer.
func (silent) Announce(context.Context, api.Claim) error { return nil }

// Withdraw implements reporter.Announcer.
func (silent) Withdraw(context.Context) error { return nil }

// SetReachable implements lifecycle.OwnPod.
func (silent) SetReachable(context.Context, podtypes.Condition) error { return nil }

// Termination implements lifecycle.OwnPod: an agent is told to stop here only when
// its pod ends.
func (silent) Termination(context.Context) (podtypes.Termination, error) {
	return podtypes.Termination{Begun: true, Grace: time.Hour}, nil
}

// Record implements reporter.Events.
func (silent) Record(context.Context, podtypes.EventType, string, string) error { return nil }

// startAgent starts an agent of a pod at its present IP.
func (w *World) startAgent(p *pod) {
	p.starts++
	process := newProcess(w.scheduler, fmt.Sprintf("%s/%s#%d", p.name, p.uid, p.starts))
	process.owner = p.uid
	jitter := randomFor(w.config.Seed, process.name)
	own := newClock(jitter)
	a := &agent{Process: process, pod: p, ip: p.ip, board: &board{first: func() { w.served(p) }}, ended: make(chan struct{})}
	allocator, err := client.New(client.Config{
		URL: "http://allocator.test", Transport: wire{w, process, token(p.name, p.uid), p.ip}, Jitter: jitter.Float64,
		NewID: func() string { return p.name }, // a run must not depend on other randomness
	})
	if err != nil {
		w.violate(fmt.Errorf("making the agent's client: %w", err))
		return
	}
	var calls lifecycle.Allocator = allocator
	if w.config.BreakAgent != nil {
		calls = w.config.BreakAgent(calls)
	}
	a.Agent = lifecycle.New(lifecycle.Config{
		Pod:  podtypes.Identity{Namespace: namespace, Name: p.name, UID: p.uid, IP: p.ip},
		Pool: w.pool.Name, Ports: p.ports, HealthPort: 9901, ReleaseTimeout: w.timing.ReleaseTimeout,
		Drain: p.drain, Listens: func() (bool, error) { return true, nil },
		Game:      func(context.Context) (string, error) { return "", nil },
		Allocator: calls, LoadBalancer: elb.New(configuration(awsTransport{process, w.cloud}), nil),
		Files: a.board, OwnPod: silent{}, Events: silent{}, OnHolding: func() {},
		Clock: agentclock.Clock{
			Now: own.now, Timeout: own.timeout,
			Sleep: func(ctx context.Context, d time.Duration) error { return process.sleep(ctx, own.real(d)) },
		},
		Jitter: jitter.Float64, Metrics: metrics.NewSet(), Log: w.trace.logTo(process),
	})
	p.agent, w.agentOf[p.uid] = a, a
	w.agents = append(w.agents, a)
	w.trace.add("-- agent %s starts at %s", a.name, p.ip)
	go func() {
		defer close(a.ended)
		if err := a.Run(a.ctx, nil); err != nil && a.alive() {
			w.trace.logTo(process).Error("agent ended", "err", err)
		}
	}()
}

// over reports whether the process has ended.
func (a *agent) over() bool {
	select {
	case <-a.ended:
		return true
	default:
		return !a.alive()
	}
}

// wire carries an agent's requests to one of the allocator replicas, as a Service
// does.
type wire struct {
	world   *World
	process *Process
	token   string
	from    string // address
}

// RoundTrip implements http.RoundTripper.
func (t wire) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := takeBody(req)
	if err != nil {
		return nil, err
	}
	header := req.Header.Clone()
	header.Set("Authorization", "Bearer "+t.token)
	method, target := req.Method, *req.URL
	what := method + " " + target.Path[strings.LastIndexByte(target.Path, '/')+1:]
	o := t.process.do(req.Context(), &call{kind: kindRequest, what: what, apply: func(c *call) (outcome, bool) {
		return t.deliver(c, method, &target, header, body)
	}})
	r, ok := o.value.(reply)
	if o.err == nil && !ok {
		o.err = errLost
	}
	t.world.answered(what, r, o.err)
	if o.err != nil {
		return nil, o.err
	}
	return r.response(req), nil
}

// deliver starts to serve a request on a replica.
func (t wire) deliver(c *call, method string, target *url.URL, header http.Header, body []byte) (outcome, bool) {
	if len(t.world.replicas) == 0 {
		return outcome{err: errRefused}, true
	}
	r := t.world.replicas[c.random.IntN(len(t.world.replicas))]
	if err := t.world.judge.noteRequest(target.Path, body); err != nil {
		t.world.violate(err)
	}
	thread := fmt.Sprintf("%s.%d", c.process.name, c.seq)
	t.world.trace.add("%-22s   %s", r.name+" "+thread, c.what)
	go r.serve(c, thread, method, target, header, body, t.from)
	return outcome{}, false
}
