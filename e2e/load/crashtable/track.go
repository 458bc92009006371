package crashtable

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// phase is a phase of an agent's life as seen from outside.
type phase string

const (
	binding   phase = "binding"   // from its start to its first renewal once bound
	returning phase = "returning" // the same, killed and started again once bound
	releasing phase = "releasing" // from SIGTERM to its end
)

// call is one remote call: its phase, its name, and how many calls of that name the
// phase had before.
type call struct {
	phase  phase
	name   string
	before int
}

func (c call) String() string { return fmt.Sprintf("%s %s %d", c.phase, c.name, c.before) }

// renewal is made once while the agent binds, and at intervals after boundReport.
const (
	renewal     = "POST claim/renew"
	boundReport = "POST claim/bound"
)

// condition sets or reads the pod's condition.
const condition = "PATCH pods/status"

// reads reports whether the call changes nothing.
func (c call) reads() bool { return strings.HasPrefix(c.name, "Describe") }

// watch tracks the calls of one agent and makes one of them fail, and as many of that
// name after it as the fault requires.
type watch struct {
	mu    sync.Mutex // guards all below
	phase phase
	made  []call
	// at is the call to disrupt, and fault how; nil disrupts none. left is how many
	// calls are still to be disrupted once that began.
	at    call
	fault *fault
	began bool
	left  int
	// onFault is called at the first disrupted call.
	onFault func()
}

// follow tracks all calls of a pod's agent.
func follow(p *rig.Pod) *watch {
	w := &watch{phase: binding}
	p.Follow(func(name string) elbemu.Fault {
		disrupt, onFault := w.next(name)
		if disrupt == nil {
			return elbemu.Fault{}
		}
		return disrupt.ofAWS(onFault)
	}, func(name string) rig.CallFault {
		disrupt, onFault := w.next(name)
		if disrupt == nil {
			return rig.CallFault{}
		}
		return disrupt.ofCall(onFault)
	})
	return w
}

// disrupt sets the call to disrupt.
func (w *watch) disrupt(at call, f *fault, onFault func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.fault, w.left, w.onFault = at, f, f.times, onFault
}

// next records a call and returns its fault; nil lets it pass.
func (w *watch) next(name string) (disrupt *fault, onFault func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	this := call{w.phase, name, 0}
	for _, m := range w.made {
		if m.phase == this.phase && m.name == this.name {
			this.before++
		}
	}
	w.made = append(w.made, this)
	onFault = func() {}
	switch {
	case w.fault == nil || w.left == 0 || name != w.at.name:
		return nil, nil
	case !w.began && this != w.at:
		return nil, nil
	case !w.began:
		w.began, onFault = true, w.onFault
	}
	w.left--
	return w.fault, onFault
}

// reached reports whether the call to disrupt has come.
func (w *watch) reached() bool {
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

// calls returns the calls so far.
func (w *watch) calls() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.made)
}

// renewals returns how often the agent has renewed in a phase after it was bound.
func (w *watch) renewals(p phase) int {
	n, bound := 0, false
	for _, c := range w.calls() {
		bound = bound || c.phase == p && c.name == boundReport
		if c.phase == p && c.name == renewal && bound {
			n++
		}
	}
	return n
}
