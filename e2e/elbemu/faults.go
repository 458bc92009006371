package elbemu

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Call is a call as it arrived, before it is applied.
type Call struct {
	Seq         uint64 // 1 for the emulator's first call
	Action      string
	Params      url.Values // all form parameters, including Action and Version
	AccessKeyID string     // from the SigV4 header, not verified; empty without that header
	TLS         bool       // it arrived over TLS
	At          time.Time
}

// Outcome is the result of a call inside the emulator, even if the caller never learns it.
type Outcome struct {
	Status    int    // HTTP status
	Code      string // error code; empty on success
	Message   string
	RequestID string
}

// OK reports whether the call succeeded.
func (o Outcome) OK() bool { return o.Code == "" }

// Fault decides whether a call is applied and what its caller learns. The two are
// independent, because a call that failed may still have been applied. The zero value lets
// the call pass.
//
// Before and After run outside the emulator's mutex, in the goroutine that serves the
// call. They may block, call the emulator or kill the caller.
type Fault struct {
	// Delay passes before the call is applied, on the timers of package time. If the
	// caller gives up during the delay, the call is not applied.
	Delay  time.Duration
	Before func(context.Context) // before the call is applied
	Apply  Application
	After  func(Outcome) // after it is applied; not called if it is not applied
	Answer Answer
	Error  *APIError // for AnswerError
	Held   *Held     // for ApplyLater
}

// Application decides whether and when a call is applied.
type Application int

// Applications of a call.
const (
	ApplyNow Application = iota
	ApplyNever
	ApplyLater // when the test calls Held.Apply
)

// Answer decides what the caller learns.
type Answer int

// Answers to a call.
const (
	AnswerTrue  Answer = iota // the real outcome
	AnswerError               // Fault.Error
	AnswerNone                // the connection is closed without an answer
	AnswerHang                // no answer until the caller gives up
)

// NotApplied closes the connection without an answer. The call is not applied.
func NotApplied() Fault { return Fault{Apply: ApplyNever, Answer: AnswerNone} }

// Refuse returns an error. The call is not applied.
func Refuse(status int, code, message string) Fault {
	return Fault{Apply: ApplyNever, Answer: AnswerError, Error: &APIError{Status: status, Code: code, Message: message}}
}

// Throttle returns the error of an empty token bucket. The call is not applied.
func Throttle() Fault { return Refuse(http.StatusBadRequest, codeThrottling, rateExceeded) }

// ServerError returns HTTP 500. The call is not applied.
func ServerError() Fault {
	return Refuse(http.StatusInternalServerError, codeInternalFailure, "The request processing has failed because of an unknown error.")
}

// ServerErrorApplied applies the call but returns HTTP 500.
func ServerErrorApplied() Fault {
	f := ServerError()
	f.Apply = ApplyNow
	return f
}

// AnswerLost applies the call and closes the connection without an answer.
func AnswerLost() Fault { return Fault{Answer: AnswerNone} }

// HoldCut closes the connection at once. The call is applied when the test calls h.Apply.
func HoldCut(h *Held) Fault { return Fault{Apply: ApplyLater, Answer: AnswerNone, Held: h} }

// HoldHanging lets the caller wait until it gives up. The call is applied when the test
// calls h.Apply, before or after that.
func HoldHanging(h *Held) Fault { return Fault{Apply: ApplyLater, Answer: AnswerHang, Held: h} }

// contradiction returns why the fault cannot be carried out, or nothing.
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

// Held is a call in transit: sent by its caller, but not yet received by the service. Use
// a zero value with exactly one [HoldCut] or [HoldHanging].
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

// Call returns the held call, or false if none has arrived yet.
func (h *Held) Call() (Call, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.call, h.run != nil
}

// Apply applies the held call now and returns its outcome. It returns false if no call has
// arrived yet. Applying again changes nothing and returns the same outcome.
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

// SetFault makes f decide the fault of every following call. f runs outside the emulator's
// mutex, in the goroutine of the call, and may be called concurrently. Nil lets every call
// pass.
func (e *Emulator) SetFault(f func(Call) Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = f
}
