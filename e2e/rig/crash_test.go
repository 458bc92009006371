package rig_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// call is one remote call of an agent: its name, and how many calls of that name came
// before.
type call struct {
	name   string
	before int
}

// calls records the remote calls of one agent and interrupts one of them.
type calls struct {
	pod *rig.Pod

	mu   sync.Mutex
	made []call
	// at is the call to interrupt; when and do say when and how.
	at   call
	do   func()
	when moment
	hit  bool
}

type moment string

const (
	before moment = "before"
	after  moment = "after"
)

func follow(p *rig.Pod) *calls {
	c := &calls{pod: p}
	p.Follow(func(name string) elbemu.Fault {
		interrupt, when := c.next(name)
		switch {
		case interrupt == nil:
			return elbemu.Fault{}
		case when == before:
			interrupt()
			return elbemu.NotApplied()
		}
		fault := elbemu.AnswerLost()
		fault.After = func(elbemu.Outcome) { interrupt() }
		return fault
	}, func(name string) rig.CallFault {
		interrupt, when := c.next(name)
		switch {
		case interrupt == nil:
			return rig.CallFault{}
		case when == before:
			fault := rig.CallNotApplied()
			fault.Before = interrupt
			return fault
		}
		fault := rig.CallAnswerLost()
		fault.After = func(int) { interrupt() }
		return fault
	})
	return c
}

// interrupt runs do at one call.
func (c *calls) interrupt(at call, when moment, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.when, c.do = at, when, do
}

// next records a call. If the call is to be interrupted, it gives the function to
// run.
func (c *calls) next(name string) (interrupt func(), when moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	this := call{name: name}
	for _, m := range c.made {
		if m.name == name {
			this.before++
		}
	}
	c.made = append(c.made, this)
	if c.hit || this != c.at || c.do == nil {
		return nil, before
	}
	c.hit = true
	return c.do, c.when
}

func (c *calls) all() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.made)
}

// TestAgentKilledAtEveryCall kills an agent before and after each of its remote
// calls. A restarted agent must become bound with nothing left over. If the pod is
// gone instead, the janitor must reclaim everything. Ports are few, so that a
// reclaimed port soon has another holder. The invariants must hold throughout.
func TestAgentKilledAtEveryCall(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{ListenerPorts: "30000-30009", AgentGrace: time.Second, Replicas: 2})
	ctx := t.Context()

	// An undisturbed life shows which calls an agent makes.
	p, err := r.NewPod(ctx, "undisturbed", "game=7777/UDP")
	must(t, err)
	life := follow(p)
	must(t, p.Start())
	must(t, p.WaitAnnounced(ctx))
	must(t, rig.Eventually(ctx, "the first condition", func() error {
		if !slices.Contains(life.all(), call{name: "PATCH pods/status"}) {
			return errors.New("it was not written")
		}
		return nil
	}))
	binding := slices.DeleteFunc(life.all(), untimed)
	must(t, p.Terminate(ctx))
	releasing := slices.DeleteFunc(life.all(), untimed)[len(binding):]
	for _, name := range []string{"PUT claim", "CreateTargetGroup", "POST claim/targetgroup", "RegisterTargets", "CreateListener", "DescribeTags", "POST claim/bound"} {
		if !slices.Contains(binding, call{name: name}) {
			t.Fatalf("binding made no call %s but %v", name, binding)
		}
	}
	for _, name := range []string{"POST claim/release", "DeleteListener", "DeleteTargetGroup", "DELETE claim"} {
		if !slices.Contains(releasing, call{name: name}) {
			t.Fatalf("releasing made no call %s but %v", name, releasing)
		}
	}

	// Only four cases run at once, so that the agents get enough CPU time.
	gate := make(chan struct{}, 4)
	for n, c := range append(slices.Clone(binding), releasing...) {
		for _, when := range []moment{before, after} {
			for _, ends := range []string{"restarted", "gone"} {
				t.Run(fmt.Sprintf("%s %s %d, %s", when, strings.ReplaceAll(c.name, "/", " "), c.before, ends), func(t *testing.T) {
					t.Parallel()
					gate <- struct{}{}
					defer func() { <-gate }()
					p := killAt(t, r, c, when, n >= len(binding), fmt.Sprintf("%s-%s-%d", ends, when, n))
					if ends == "restarted" {
						comesBack(t, r, p)
					} else {
						must(t, p.Crash(t.Context()))
						must(t, rig.Eventually(t.Context(), "nothing of the pod to be left", func() error { return r.CheckGone(t.Context(), p) }))
					}
					check(t, r)
				})
			}
		}
	}
}

// untimed reports whether a call comes at no fixed point of an agent's life. Renewals
// come on a timer, and no part waits for events. The condition is written beside the
// phases, and one write may tell several changes, so only the first one always comes.
func untimed(c call) bool {
	return c.name == "POST claim/renew" || c.name == "POST events" || c.name == "PATCH pods/status" && c.before > 0
}

// killAt starts a pod and kills its agent at one call.
func killAt(t *testing.T, r *rig.Rig, at call, when moment, stopping bool, name string) *rig.Pod {
	t.Helper()
	ctx := t.Context()
	p, err := r.NewPod(ctx, name, "game=7777/UDP")
	must(t, err)
	killed := make(chan struct{})
	follow(p).interrupt(at, when, func() {
		defer close(killed)
		if err := p.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	must(t, p.Start())
	if stopping {
		must(t, p.WaitAnnounced(ctx)) // a later write of the annotations would be one of the calls that release
		must(t, p.Signal())
	}
	select {
	case <-killed:
	case <-time.After(30 * time.Second):
		t.Fatalf("the agent never came to call %v", at)
	}
	check(t, r)
	return p
}

// comesBack restarts a killed agent: it becomes bound, and nothing is left over.
func comesBack(t *testing.T, r *rig.Rig, p *rig.Pod) {
	t.Helper()
	ctx := t.Context()
	must(t, p.Start())
	must(t, p.WaitBound(ctx))
	check(t, r)
	must(t, rig.Eventually(ctx, "no leftover of this pod", func() error { return r.CheckAtRestFor(ctx, p) }))
	port, err := p.PortOf(ctx)
	must(t, err)
	if port.Value.State != ledger.Bound {
		t.Errorf("the port is %s, not bound", port.Value.State)
	}
	must(t, p.Terminate(ctx))
}
