package crashtable

import (
	"context"
	"errors"
	"net/http"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// moment is when a delayed call arrives after all.
type moment string

const (
	never         moment = ""
	afterBound    moment = "the pod is bound"
	afterRelease  moment = "the pod is released"
	heldByAnother moment = "another pod has the port"
)

// kind is one way for a call to fail.
type kind struct {
	name string
	// times is how many calls in a row fail.
	times int
	aws   func() elbemu.Fault
	call  func() rig.CallFault
	// until is when a delayed call arrives.
	until moment
	// waits is true if the agent mostly waits meanwhile.
	waits bool
}

var kinds = []kind{
	{name: "not applied", times: 1, aws: elbemu.NotApplied, call: rig.CallNotApplied},
	{name: "answer lost", times: 1, aws: elbemu.AnswerLost, call: rig.CallAnswerLost},
	{name: "held until bound", times: 1, until: afterBound},
	{name: "held until released", times: 1, until: afterRelease},
	{name: "held until another's", times: 1, until: heldByAnother},
	{name: "throttled x20", times: 20, waits: true, aws: elbemu.Throttle, call: refused(http.StatusTooManyRequests)},
	{name: "5xx x5", times: 5, waits: true, aws: elbemu.ServerError, call: refused(http.StatusServiceUnavailable)},
	{name: "hangs", times: 1, waits: true, call: rig.CallHangs, aws: func() elbemu.Fault {
		return elbemu.Fault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerHang}
	}},
}

func refused(status int) func() rig.CallFault {
	return func() rig.CallFault { return rig.CallRefused(status) }
}

// fault is one occurrence of a kind, with the call that it delays.
type fault struct {
	kind
	aws  elbemu.Held
	call rig.HeldCall
}

// ofAWS returns the fault of a call to AWS. It calls onFault at the moment when the
// agent cannot know the outcome yet.
func (f *fault) ofAWS(onFault func()) elbemu.Fault {
	if f.until != never {
		held := elbemu.HoldCut(&f.aws)
		held.Before = func(context.Context) { onFault() }
		return held
	}
	made := f.kind.aws()
	if made.Apply == elbemu.ApplyNow {
		made.After = func(elbemu.Outcome) { onFault() }
	} else {
		made.Before = func(context.Context) { onFault() }
	}
	return made
}

// ofCall is ofAWS for calls to the allocator and the API server.
func (f *fault) ofCall(onFault func()) rig.CallFault {
	if f.until != never {
		held := rig.CallHeld(&f.call)
		held.Before = onFault
		return held
	}
	made := f.kind.call()
	if made.Apply == elbemu.ApplyNow {
		made.After = func(int) { onFault() }
	} else {
		made.Before = onFault
	}
	return made
}

// arrive delivers the delayed call if this is its moment.
func (f *fault) arrive(ctx context.Context, now moment) error {
	if f.until != now {
		return nil
	}
	if _, arrived := f.aws.Apply(); arrived {
		return nil
	}
	_, arrived, err := f.call.Apply(ctx)
	if err == nil && !arrived {
		err = errors.New("no call was held")
	}
	return err
}
