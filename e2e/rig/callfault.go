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

// CallFault says what becomes of one call of an agent to the allocator or the API
// server: whether it is applied, and what the agent learns. It is to them what
// [elbemu.Fault] is to AWS, in the same words. The zero value lets the call pass.
//
// Before and After may block or kill the agent.
type CallFault struct {
	Before func() // the call has left the agent
	Apply  elbemu.Application
	After  func(status int) // it is applied, and the agent does not know yet
	Answer elbemu.Answer
	Status int       // for AnswerError
	Held   *HeldCall // for ApplyLater
}

// CallNotApplied closes the connection without an answer; nothing happened.
func CallNotApplied() CallFault {
	return CallFault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerNone}
}

// CallAnswerLost applies the call and closes the connection without an answer.
func CallAnswerLost() CallFault { return CallFault{Answer: elbemu.AnswerNone} }

// CallRefused answers a bare status, as a proxy between the two sides may; nothing
// happened. Who asked too often may come again in a second.
func CallRefused(status int) CallFault {
	return CallFault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerError, Status: status}
}

// CallHangs lets the agent wait until it gives up; nothing happened.
func CallHangs() CallFault {
	return CallFault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerHang}
}

// CallHeld closes the connection at once; the call is applied when h says so.
func CallHeld(h *HeldCall) CallFault {
	return CallFault{Apply: elbemu.ApplyLater, Answer: elbemu.AnswerNone, Held: h}
}

// HeldCall is a call on its way: it has left its agent and has not reached the
// service. The zero value is ready to be given to one [CallHeld].
type HeldCall struct {
	mu  sync.Mutex
	run func(context.Context) (reply, error)
}

func (h *HeldCall) arrive(run func(context.Context) (reply, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run = run
}

// heldTimeout bounds a held call once it goes on.
const heldTimeout = 20 * time.Second

// Apply lets the call reach the service and gives the status of the answer, which
// nobody reads. It is false when no call has arrived.
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

// FaultAllocator decides what becomes of this agent's calls to the allocator; nil
// lets them pass.
func (p *Pod) FaultAllocator(f func(*http.Request) CallFault) { p.allocator.setFault(f) }

// FaultKube decides what becomes of this agent's calls to the API server; nil lets
// them pass.
func (p *Pod) FaultKube(f func(*http.Request) CallFault) { p.kube.setFault(f) }

// Follow shows every remote call of this agent, by its name, and lets a test
// decide what becomes of it: CreateListener, PUT claim, POST claim/bound,
// PATCH pods, PATCH pods/status.
func (p *Pod) Follow(aws func(name string) elbemu.Fault, call func(name string) CallFault) {
	p.Fault(func(c elbemu.Call) elbemu.Fault { return aws(c.Action) })
	p.FaultAllocator(func(r *http.Request) CallFault {
		return call(r.Method + " claim" + r.URL.Path[strings.Index(r.URL.Path, "/claim")+len("/claim"):])
	})
	p.FaultKube(func(r *http.Request) CallFault {
		// The fourth part of the path is the namespace; after the kind comes a name, and
		// perhaps a subresource.
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		kind := strings.Join(slices.Concat(parts[min(len(parts), 4):min(len(parts), 5)], parts[min(len(parts), 6):]), "/")
		return call(r.Method + " " + kind)
	})
}
