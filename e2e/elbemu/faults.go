package elbemu

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Call is one call as it arrived, before anything was applied.
type Call struct {
	Seq         uint64 // 1 for the emulator's first call
	Action      string
	Params      url.Values // all form parameters, Action and Version too
	AccessKeyID string     // from the SigV4 header, unverified; empty without one
	TLS         bool       // it came over TLS
	At          time.Time
}

// Outcome is how a call ended inside the emulator, whether or not its caller
// was told.
type Outcome struct {
	Status    int    // HTTP status
	Code      string // error code; empty on success
	Message   string
	RequestID string
}

// OK tells whether the call did what it asked for.
func (o Outcome) OK() bool { return o.Code == "" }

// Fault says what becomes of one call: whether it is applied, and what its
// caller learns. The two are independent, because "failed" is not "not done".
// The zero value lets the call pass.
//
// Before and After run outside the emulator's mutex, in the goroutine that
// serves the call; they may block, call the emulator or kill the caller.
type Fault struct {
	// Delay passes before the call is applied, on the timers of package time. A
	// caller that goes away meanwhile takes its call with it.
	Delay  time.Duration
	Before func(context.Context) // before the call is applied
	Apply  Application
	After  func(Outcome) // after it is applied; not called when it is not
	Answer Answer
	Error  *APIError // for AnswerError
	Held   *Held     // for ApplyLater
}

// Application says whether a call changes the state.
type Application int

// Applications of a call.
const (
	ApplyNow Application = iota
	ApplyNever
	ApplyLater // when the test calls Held.Apply
)

// Answer says what the caller learns.
type Answer int

// Answers to a call.
const (
	AnswerTrue  Answer = iota // how the call really ended
	AnswerError               // Fault.Error
	AnswerNone                // the connection is closed without an answer
	AnswerHang                // nothing until the caller gives up
)

// NotApplied closes the connection without an answer; nothing happened.
func NotApplied() Fault { return Fault{Apply: ApplyNever, Answer: AnswerNone} }

// Refuse answers an error; nothing happened.
func Refuse(status int, code, message string) Fault {
	return Fault{Apply: ApplyNever, Answer: AnswerError, Error: &APIError{Status: status, Code: code, Message: message}}
}

// Throttle answers as an empty token bucket does; nothing happened.
func Throttle() Fault { return Refuse(http.StatusBadRequest, codeThrottling, rateExceeded) }

// ServerError answers HTTP 500; nothing happened.
func ServerError() Fault {
	return Refuse(http.StatusInternalServerError, codeInternalFailure, "The request processing has failed because of an unknown error.")
}

// ServerErrorApplied answers HTTP 500 although the call was applied.
func ServerErrorApplied() Fault {
	f := ServerError()
	f.Apply = ApplyNow
	return f
}

// AnswerLost applies the call and closes the connection without an answer.
func AnswerLost() Fault { return Fault{Answer: AnswerNone} }

// HoldCut closes the connection at once; the call is applied when h says so.
func HoldCut(h *Held) Fault { return Fault{Apply: ApplyLater, Answer: AnswerNone, Held: h} }

// HoldHanging lets the caller wait until it gives up; the call is applied when h
// says so, before or after.
func HoldHanging(h *Held) Fault { return Fault{Apply: ApplyLater, Answer: AnswerHang, Held: h} }

// contradiction names what makes the fault impossible to carry out.
func (f Fault) contradiction() string {
	switch {
	case f.Answer == AnswerTrue && f.Apply != ApplyNow:
		return "a call that is not applied has no true answer"
	case f.Answer == AnswerError && f.Error == nil:
		return "AnswerError needs Error"
	case f.Apply == ApplyLater && f.Held == nil:
		return "ApplyLater needs Held"
	}
	return ""
}

// Held is a call on its way: it has left its caller and has not reached the
// service. The zero value is ready to be given to one [HoldCut] or
// [HoldHanging].
type Held struct {
	once    sync.Once
	mu      sync.Mutex
	run     func() Outcome
	call    Call
	outcome Outcome
}

func (h *Held) arrive(call Call, run func() Outcome) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		return false
	}
	h.call, h.run = call, run
	return true
}

// Call is the held call; false until one has arrived.
func (h *Held) Call() (Call, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.call, h.run != nil
}

// Apply applies the call now and returns how it ended. It is false when no call
// has arrived yet. Applying again changes nothing and returns the same outcome.
func (h *Held) Apply() (Outcome, bool) {
	h.mu.Lock()
	run := h.run
	h.mu.Unlock()
	if run == nil {
		return Outcome{}, false
	}
	h.once.Do(func() { h.outcome = run() })
	return h.outcome, true
}

// SetFault makes every following call ask f what becomes of it. f runs outside
// the emulator's mutex, in the goroutine of the call, and may be called
// concurrently. Nil lets every call pass.
func (e *Emulator) SetFault(f func(Call) Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = f
}
