package crashtable

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/portlease/portlease/e2e/kubeapi"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// podKind is the kind of pod that an agent serves. Each kind has its own installation,
// because the settings of a pool hold for all pods.
type podKind struct {
	name, ports string
	pool        string   // added to the pool file
	settings    []string // of its agents
}

var podKinds = []podKind{
	{name: "one port", ports: "game=7777/UDP"},
	{
		name: "two ports", ports: "game=7777/UDP,chat=8080/TCP", pool: "  targetGroupAttributes: {deregistration_delay.timeout_seconds: \"5\"}\n",
		settings: []string{"PORTLEASE_DEREGISTER=500ms"},
	},
}

// stage is an installation for one kind of pod.
type stage struct {
	podKind
	*rig.Rig
}

// newStage starts an installation in which the next pod of a name gets the same port.
// It has more ports than pods that come while a port is kept for its name, and its
// cooldown outlasts the replicas' listings of AWS.
func newStage(ctx context.Context, kube *kubeapi.API, l podKind, output io.Writer) (*stage, error) {
	r, err := rig.New(ctx, rig.Config{
		Kube: kube, Replicas: 2, LoadBalancers: 10, ListenerPorts: "30000-30039",
		Cooldown: 3 * time.Second, AgentGrace: 2 * time.Second, Sticky: 20 * time.Second, Pool: l.pool, AgentSettings: l.settings, Output: output,
	})
	if err != nil {
		return nil, err
	}
	return &stage{l, r}, nil
}

// closeLimit is how long closing an installation may take.
const closeLimit = 3 * time.Minute

func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	return s.Close(ctx)
}

// recordCalls plays one undisturbed life and returns its calls. It leaves out
// repetitions: calls that are made at intervals, and more than one call per port.
func (s *stage) recordCalls(ctx context.Context) ([]call, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p, err := s.NewPod(ctx, "undisturbed", s.ports)
	if err != nil {
		return nil, err
	}
	w := follow(p)
	if err := s.advance(ctx, p, w, call{phase: returning}); err != nil {
		return nil, err
	}
	if err := s.renewed(ctx, w, returning, 1); err != nil {
		return nil, err
	}
	w.enter(releasing)
	if err := p.Terminate(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(w.calls(), func(c call) bool {
		return c.before > strings.Count(s.ports, ",")+1 || c.name == renewal && (c.before > 1 || c.phase == releasing)
	}), s.Check(ctx)
}

// advance starts a pod's agent and takes it to the beginning of a call's phase.
func (s *stage) advance(ctx context.Context, p *rig.Pod, w *watch, to call) error {
	if err := p.Start(); err != nil || to.phase == binding {
		return err
	}
	if err := s.renewed(ctx, w, binding, 1); err != nil {
		return err
	}
	if to.phase == releasing && to.name == condition {
		// Only a condition that was set is cleared.
		if err := p.WaitReady(ctx); err != nil {
			return err
		}
	}
	if to.phase == releasing {
		w.enter(releasing)
		return p.Signal()
	}
	if err := p.Kill(ctx); err != nil {
		return err
	}
	w.enter(returning)
	return p.Start()
}

// renewed waits until an agent has renewed its claim that many times in a phase, and so
// is bound and holds.
func (s *stage) renewed(ctx context.Context, w *watch, p phase, times int) error {
	return until(ctx, "the agent to renew", func() error {
		if n := w.renewals(p); n < times {
			return fmt.Errorf("it has renewed %d times", n)
		}
		return nil
	})
}

const pollEvery = 500 * time.Millisecond

// until asks until there is no error, and gives up when ctx ends.
func until(ctx context.Context, what string, ask func() error) error {
	if err := scenario.Poll(ctx, pollEvery, ask); err != nil {
		return fmt.Errorf("waiting for %s: %w; the last attempt: %w", what, context.Cause(ctx), err)
	}
	return nil
}
