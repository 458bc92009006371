package rig

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
)

// CallFault decides whether one call of an agent to the allocator or the API server
// is applied, and which answer the agent gets. It corresponds to [elbemu.Fault] for
// AWS calls. The zero value lets the call pass.
//
// Before and After may block or kill the agent.
type CallFault struct {
	Before func() // runs when the call has left the agent
	Apply  elbemu.Application
	After  func(status int) // runs when the call is applied and the agent has no answer yet
	Answer elbemu.Answer
	Status int       // for AnswerError
	Held   *HeldCall // for ApplyLater
}

// CallNotApplied closes the connection without an answer and without applying the
// call.
func CallNotApplied() CallFault {
	return CallFault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerNone}
}

// CallAnswerLost applies the call and closes the connection without an answer.
func CallAnswerLost() CallFault { return CallFault{Answer: elbemu.AnswerNone} }

// CallRefused answers with only a status, as a proxy between the two sides may, and
// does not apply the call. A status of 429 asks the agent to retry after a second.
func CallRefused(status int) CallFault {
	return CallFault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerError, Status: status}
}

// CallHangs keeps the agent waiting until it gives up, and does not apply the call.
func CallHangs() CallFault {
	return CallFault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerHang}
}

// CallHeld closes the connection at once. The call is applied when the test calls
// h.Apply.
func CallHeld(h *HeldCall) CallFault {
	return CallFault{Apply: elbemu.ApplyLater, Answer: elbemu.AnswerNone, Held: h}
}

// HeldCall is a call in flight: it has left its agent and has not reached the
// service. The zero value is ready for use in one [CallHeld].
type HeldCall struct {
	mu  sync.Mutex
	run func(context.Context) (reply, error)
}

func (h *HeldCall) arrive(run func(context.Context) (reply, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run = run
}

// heldTimeout limits a held call after Apply sends it on.
const heldTimeout = 20 * time.Second

// Apply sends the call to the service and gives the status of the answer, which the
// agent never sees. arrived is false if no call has arrived.
func (h *HeldCall) Apply(ctx context.Context) (status int, arrived bool, err error) {
	h.mu.Lock()
	run := h.run
	h.mu.Unlock()
	if run == nil {
		return 0, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, heldTimeout)
	defer cancel()
	answer, err := run(ctx)
	return answer.status, true, err
}

// FaultAllocator sets the faults of this agent's calls to the allocator; nil lets all
// calls pass.
func (p *Pod) FaultAllocator(f func(*http.Request) CallFault) { p.allocator.setFault(f) }

// FaultKube sets the faults of this agent's calls to the API server; nil lets all
// calls pass.
func (p *Pod) FaultKube(f func(*http.Request) CallFault) { p.kube.setFault(f) }

// Follow passes the name of every remote call of this agent to the test, which
// decides its fault. Names are, for example, CreateListener, PUT claim, POST
// claim/bound, PATCH pods and PATCH pods/status.
func (p *Pod) Follow(aws func(name string) elbemu.Fault, call func(name string) CallFault) {
	p.Fault(func(c elbemu.Call) elbemu.Fault { return aws(c.Action) })
	p.FaultAllocator(func(r *http.Request) CallFault {
		return call(r.Method + " claim" + r.URL.Path[strings.Index(r.URL.Path, "/claim")+len("/claim"):])
	})
	p.FaultKube(func(r *http.Request) CallFault {
		// The fourth part of the path is the namespace. The kind follows, then a name
		// and perhaps a subresource.
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		kind := strings.Join(slices.Concat(parts[min(len(parts), 4):min(len(parts), 5)], parts[min(len(parts), 6):]), "/")
		return call(r.Method + " " + kind)
	})
}
