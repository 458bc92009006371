package elbemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const rateExceeded = "Rate exceeded"

// errCut ends a call without an answer.
var errCut = errors.New("connection closed by the emulator without an answer")

// Headers of every answer, for logs and traces. AWS does not send them.
const (
	ActionHeader = "Elbemu-Action"
	CodeHeader   = "Elbemu-Code" // empty on success
)

// reply is an HTTP response.
type reply struct {
	status int
	body   []byte
	action string
	code   string
	// requestID is in a header, too, where the SDKs look for it.
	requestID string
}

func (r reply) header() http.Header {
	return http.Header{"Content-Type": {"text/xml"}, "X-Amzn-Requestid": {r.requestID}, ActionHeader: {r.action}, CodeHeader: {r.code}}
}

// ServeHTTP answers one API call. If a fault cuts the call, it panics with
// http.ErrAbortHandler, so that the connection closes without an answer.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := e.serve(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.header())
	w.WriteHeader(answer.status)
	if _, err := w.Write(answer.body); err != nil {
		e.log.DebugContext(r.Context(), "answer not delivered", "err", err)
	}
}

// RoundTrip answers a call in memory, in the caller's goroutine: set the emulator as the
// Transport of an http.Client. If a fault cuts the call, it returns a transport error, as
// with a socket.
func (e *Emulator) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer, err := e.serve(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", answer.status, http.StatusText(answer.status)),
		StatusCode:    answer.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        answer.header(),
		Body:          io.NopCloser(strings.NewReader(string(answer.body))),
		ContentLength: int64(len(answer.body)),
		Request:       r,
	}, nil
}

// serve handles a call according to its fault. It returns an error if the caller gets no
// answer.
func (e *Emulator) serve(r *http.Request) (reply, error) {
	params, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	asked := decode(params)
	name := asked.name
	call, fault := e.arrive(Call{Action: name, Params: params, AccessKeyID: accessKeyID(r.Header.Get("Authorization")), TLS: r.TLS != nil})
	if problem := fault.contradiction(); problem != "" {
		e.log.ErrorContext(r.Context(), "invalid fault", "action", name, "problem", problem)
		fault = Refuse(http.StatusInternalServerError, codeInternalFailure, "invalid fault: "+problem)
	}
	if err := pause(r.Context(), fault.Delay); err != nil {
		return reply{}, err
	}
	if fault.Before != nil {
		fault.Before(r.Context())
	}

	apply := func() (reply, Outcome) {
		answer, outcome := e.apply(call, asked)
		if e.forward != nil {
			e.forward.sync() // a listener must be up before its creator gets the answer
			e.forward.wake()
		}
		if fault.After != nil {
			fault.After(outcome)
		}
		return answer, outcome
	}
	var answer reply
	switch fault.Apply {
	case ApplyNow:
		answer, _ = apply()
	case ApplyLater:
		// Nobody reads this result: it arrives in another goroutine.
		later := func() Outcome {
			_, outcome := apply()
			return outcome
		}
		if !fault.Held.arrive(call, later) {
			e.log.ErrorContext(r.Context(), "two calls held with one Held; the second is cut", "action", name)
			return reply{}, errCut
		}
	case ApplyNever:
		e.logNotApplied(call, fault)
	}
	answer, err = e.answer(r.Context(), fault, answer)
	answer.action = name
	return answer, err
}

func (e *Emulator) answer(ctx context.Context, fault Fault, truth reply) (reply, error) {
	switch fault.Answer {
	case AnswerTrue:
		return truth, nil
	case AnswerError:
		return e.errorReply(fault.Error), nil
	case AnswerHang:
		select {
		case <-ctx.Done():
			return reply{}, ctx.Err()
		case <-e.closing.Done():
			return reply{}, errCut
		}
	default:
		return reply{}, errCut
	}
}

func (e *Emulator) arrive(call Call) (Call, Fault) {
	e.mu.Lock()
	e.arrivals++
	call.Seq, call.At = e.arrivals, e.cfg.Now()
	decide := e.fault
	e.mu.Unlock()
	if decide == nil {
		return call, Fault{}
	}
	return call, decide(call)
}

// apply is the only place where calls change the state.
func (e *Emulator) apply(call Call, asked decoded) (reply, Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state
	s.now, s.reading, s.behind = e.cfg.Now(), asked.kind == nonMutating, s.copyAge()
	outcome := Outcome{Status: http.StatusOK, RequestID: s.requestID()}
	result, fail := e.carryOut(call, asked)
	if fail != nil {
		outcome.Status, outcome.Code, outcome.Message = fail.Status, fail.Code, fail.Message
	}
	e.calls.add(call, s.now, outcome, true)
	if fail != nil {
		return errorXML(fail, outcome.RequestID), outcome
	}
	return resultXML(call.Action, result, outcome.RequestID), outcome
}

// carryOut checks the token buckets first, then the parameters, then the caller's
// permissions, and then the existing resources.
func (e *Emulator) carryOut(call Call, asked decoded) (any, *APIError) {
	if !e.state.buckets.take(asked.kind, e.state.now) {
		return nil, e.throttled()
	}
	if asked.mistake != nil {
		return nil, asked.mistake
	}
	if refusal := e.authorize(call); refusal != nil {
		return nil, refusal
	}
	return asked.run(e.state)
}

// logNotApplied logs a call that a fault prevented.
func (e *Emulator) logNotApplied(call Call, fault Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var outcome Outcome
	if fault.Error != nil {
		outcome = Outcome{Status: fault.Error.Status, Code: fault.Error.Code, Message: fault.Error.Message}
	}
	e.calls.add(call, e.cfg.Now(), outcome, false)
}

func (e *Emulator) errorReply(fail *APIError) reply {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errorXML(fail, e.state.requestID())
}

func (e *Emulator) throttled() *APIError {
	if e.cfg.Switches.ThrottlingException {
		return refuse(codeThrottlingException, rateExceeded)
	}
	return refuse(codeThrottling, rateExceeded)
}

// readParams parses the form of a POST, and the query string, because AWS accepts GET too.
func readParams(r *http.Request) (url.Values, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			return nil, fmt.Errorf("reading request: %w", err)
		}
	}
	if len(body) > maxBody {
		return url.Values{}, nil // leads to the error for a call without an action
	}
	params, err := url.ParseQuery(string(body))
	if err != nil {
		return url.Values{}, nil
	}
	for name, values := range r.URL.Query() {
		params[name] = append(params[name], values...)
	}
	return params, nil
}

var credentialPattern = regexp.MustCompile(`Credential=([A-Za-z0-9_-]{1,128})/`)

// accessKeyID returns the caller's key ID. The signature is not verified.
func accessKeyID(authorization string) string {
	if m := credentialPattern.FindStringSubmatch(authorization); m != nil {
		return m[1]
	}
	return ""
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
