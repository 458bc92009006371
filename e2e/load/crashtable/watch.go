package crashtable

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// phase of an agent's life, as it can be told from outside.
type phase string

const (
	binding   phase = "binding"   // from its start to its first renewal
	returning phase = "returning" // the same, killed and started again once bound
	releasing phase = "releasing" // from SIGTERM to its end
)

// call is one remote call, by its phase, its name, and how often the phase had it
// before.
type call struct {
	phase  phase
	name   string
	before int
}

func (c call) String() string { return fmt.Sprintf("%s %s %d", c.phase, c.name, c.before) }

// renewal comes whenever its time has come.
const renewal = "POST claim/renew"

// condition sets the pod's condition, or asks for it.
const condition = "PATCH pods/status"

// reads tells whether the call only asks.
func (c call) reads() bool { return strings.HasPrefix(c.name, "Describe") }

// watch follows the calls of one agent and spoils one of them, and as many of that
// name after it as its fault takes.
type watch struct {
	mu    sync.Mutex // guards all below
	phase phase
	made  []call
	// at is the call to spoil, and fault how; nil spoils none. left is how many are
	// still to be spoilt once it began.
	at    call
	fault *fault
	began bool
	left  int
	// strike happens at the first call that is spoilt.
	strike func()
}

// follow watches all calls of a pod's agent.
func follow(p *rig.Pod) *watch {
	w := &watch{phase: binding}
	p.Follow(func(name string) elbemu.Fault {
		spoil, strike := w.next(name)
		if spoil == nil {
			return elbemu.Fault{}
		}
		return spoil.ofAWS(strike)
	}, func(name string) rig.CallFault {
		spoil, strike := w.next(name)
		if spoil == nil {
			return rig.CallFault{}
		}
		return spoil.ofCall(strike)
	})
	return w
}

// spoil decides what becomes of one call.
func (w *watch) spoil(at call, f *fault, strike func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.fault, w.left, w.strike = at, f, f.times, strike
}

// next notes a call and tells what becomes of it; nil lets it pass.
func (w *watch) next(name string) (spoil *fault, strike func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	this := call{w.phase, name, 0}
	for _, m := range w.made {
		if m.phase == this.phase && m.name == this.name {
			this.before++
		}
	}
	w.made = append(w.made, this)
	strike = func() {}
	switch {
	case w.fault == nil || w.left == 0 || name != w.at.name:
		return nil, nil
	case !w.began && this != w.at:
		return nil, nil
	case !w.began:
		w.began, strike = true, w.strike
	}
	w.left--
	return w.fault, strike
}

// hit tells whether the call to spoil has come.
func (w *watch) hit() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.began
}

// enter begins a phase.
func (w *watch) enter(p phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = p
}

// calls are those made so far.
func (w *watch) calls() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.made)
}

// renewals is how often the agent has asked for one.
func (w *watch) renewals(p phase) int {
	n := 0
	for _, c := range w.calls() {
		if c.phase == p && c.name == renewal {
			n++
		}
	}
	return n
}
