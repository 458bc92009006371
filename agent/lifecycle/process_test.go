package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/portlease/portlease/agent/announce"
	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/lifecycle"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/daemon"
)

// process is one running agent.
type process struct {
	*lifecycle.Agent

	w     *world
	stop  context.CancelFunc
	hurry chan struct{}
	ended chan error
	cut   *wire
	set   *metrics.Set
}

// wire is the process's network. It is cut when the process is killed, so that nothing
// it does has an effect.
type wire struct {
	next http.RoundTripper

	mu   sync.Mutex // guards dead
	dead bool
}

var errKilled = errors.New("the process was killed")

func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
}

func (w *wire) killed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.killed() {
		return nil, errKilled
	}
	resp, err := w.next.RoundTrip(r)
	if w.killed() { // during the call
		if err == nil {
			resp.Body.Close()
		}
		return nil, errKilled
	}
	return resp, err
}

// start starts an agent of the pod.
func (w *world) start() *process {
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	p := &process{w: w, stop: stop, hurry: make(chan struct{}), ended: make(chan error, 1), cut: &wire{next: w.emulator}, set: metrics.NewSet()}
	p.Agent = lifecycle.New(lifecycle.Config{
		Pod: w.pod, Pool: "default", Ports: w.ports, HealthPort: 9901, Drain: w.drain, Listens: w.listens, Deregister: w.deregister, ReleaseTimeout: w.release,
		Allocator: cuttable{w.ledger, p.cut}, LoadBalancer: w.client(p.cut),
		Files: announce.Files{Dir: w.dir}, OwnPod: w.ownPod, Events: w.ownPod,
		Game: func(ctx context.Context) (string, error) { return (*w.game.Load())(ctx) }, OnHolding: func() {},
		Clock:   clock.Clock{Now: time.Now, Sleep: daemon.Sleep, Timeout: context.WithTimeout},
		Jitter:  func() float64 { return 0.5 },
		Metrics: p.set, Log: slog.New(slog.DiscardHandler),
	})
	go func() { p.ended <- p.Run(ctx, p.hurry) }()
	return p
}

func (w *world) stopListening() { w.deaf.Store(true) }

// term sends SIGTERM, waits until the agent has ended and returns how long that took.
func (p *process) term() time.Duration {
	p.w.t.Helper()
	start := time.Now()
	p.stop()
	if err := <-p.ended; err != nil {
		p.w.t.Errorf("the agent ended with %v", err)
	}
	return time.Since(start)
}

// kill sends SIGKILL.
func (p *process) kill() {
	p.w.t.Helper()
	p.cut.kill()
	p.stop()
	if err := <-p.ended; err != nil {
		p.w.t.Errorf("the agent ended with %v", err)
	}
}

func (p *process) metric(name string) string {
	var text strings.Builder
	p.set.WritePrometheus(&text)
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// cuttable is the ledger behind a wire.
type cuttable struct {
	*ledger
	cut *wire
}

func through[T any](c cuttable, call func() (T, error)) (T, error) {
	var none T
	if c.cut.killed() {
		return none, errKilled
	}
	answer, err := call()
	if c.cut.killed() {
		return none, errKilled
	}
	return answer, err
}

func (c cuttable) Claim(ctx context.Context, namespace, pod string, r api.ClaimRequest) (api.Claim, error) {
	return through(c, func() (api.Claim, error) { return c.ledger.Claim(ctx, namespace, pod, r) })
}

func (c cuttable) TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error {
	_, err := through(c, func() (any, error) { return nil, c.ledger.TargetGroup(ctx, namespace, pod, r) })
	return err
}

func (c cuttable) Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error {
	_, err := through(c, func() (any, error) { return nil, c.ledger.Bound(ctx, namespace, pod, r) })
	return err
}

func (c cuttable) Release(ctx context.Context, namespace, pod string, r api.ReleaseRequest) (api.ReleaseAnswer, error) {
	return through(c, func() (api.ReleaseAnswer, error) { return c.ledger.Release(ctx, namespace, pod, r) })
}

func (c cuttable) Finish(ctx context.Context, namespace, pod, uid string, gone []string) error {
	_, err := through(c, func() (any, error) { return nil, c.ledger.Finish(ctx, namespace, pod, uid, gone) })
	return err
}
