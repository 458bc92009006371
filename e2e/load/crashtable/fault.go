package crashtable

import (
	"context"
	"errors"
	"net/http"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// moment is when a call that was held up arrives after all.
type moment string

const (
	never       moment = ""
	boundAgain  moment = "the pod is bound"
	releasedAll moment = "the pod is released"
	anothers    moment = "another pod has the port"
)

// kind is one way for a call to go wrong.
type kind struct {
	name string
	// times is how many calls in a row go wrong.
	times int
	aws   func() elbemu.Fault
	call  func() rig.CallFault
	// until is when a held call arrives.
	until moment
	// waits tells that the agent does little but wait meanwhile.
	waits bool
}

var kinds = []kind{
	{name: "not applied", times: 1, aws: elbemu.NotApplied, call: rig.CallNotApplied},
	{name: "answer lost", times: 1, aws: elbemu.AnswerLost, call: rig.CallAnswerLost},
	{name: "held until bound", times: 1, until: boundAgain},
	{name: "held until released", times: 1, until: releasedAll},
	{name: "held until another's", times: 1, until: anothers},
	{name: "throttled x20", times: 20, waits: true, aws: elbemu.Throttle, call: refused(http.StatusTooManyRequests)},
	{name: "5xx x5", times: 5, waits: true, aws: elbemu.ServerError, call: refused(http.StatusServiceUnavailable)},
	{name: "hangs", times: 1, waits: true, call: rig.CallHangs, aws: func() elbemu.Fault {
		return elbemu.Fault{Apply: elbemu.ApplyNever, Answer: elbemu.AnswerHang}
	}},
}

func refused(status int) func() rig.CallFault {
	return func() rig.CallFault { return rig.CallRefused(status) }
}

// fault is one kind as it happens once, with the call that it holds.
type fault struct {
	kind
	aws  elbemu.Held
	call rig.HeldCall
}

// ofAWS gives the fault of a call to AWS, with strike at the moment at which the
// agent cannot know yet what became of it.
func (f *fault) ofAWS(strike func()) elbemu.Fault {
	if f.until != never {
		held := elbemu.HoldCut(&f.aws)
		held.Before = func(context.Context) { strike() }
		return held
	}
	made := f.kind.aws()
	if made.Apply == elbemu.ApplyNow {
		made.After = func(elbemu.Outcome) { strike() }
	} else {
		made.Before = func(context.Context) { strike() }
	}
	return made
}

// ofCall is ofAWS for calls to the allocator and the API server.
func (f *fault) ofCall(strike func()) rig.CallFault {
	if f.until != never {
		held := rig.CallHeld(&f.call)
		held.Before = strike
		return held
	}
	made := f.kind.call()
	if made.Apply == elbemu.ApplyNow {
		made.After = func(int) { strike() }
	} else {
		made.Before = strike
	}
	return made
}

// arrive lets the held call arrive, if this is the moment.
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
