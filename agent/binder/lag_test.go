package binder_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
)

// AWS answers so for seconds after CreateTargetGroup, to every call.
func TestCallsOnANewTargetGroupAreRepeatedUntilAWSKnowsIt(t *testing.T) {
	gone := elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "One or more target groups not found")
	denied := elbemu.Refuse(http.StatusForbidden, "AccessDenied", "no identity-based policy allows it")
	for name, c := range map[string]struct {
		answer elbemu.Fault
		lag    time.Duration
	}{"does not exist": {gone, 10 * time.Second}, "denied": {denied, 2 * time.Second}} {
		for _, action := range []string{"RegisterTargets", "ModifyTargetGroupAttributes", "CreateListener", "DescribeTags"} {
			t.Run(action+" "+name, func(t *testing.T) {
				w := newWorld(t)
				w.claim.Ports[0].Attributes = map[string]string{"deregistration_delay.timeout_seconds": "7"}
				w.emulator.SetFault(func(call elbemu.Call) elbemu.Fault {
					if call.Action == action && w.sleptSoFar() < c.lag {
						return c.answer
					}
					return elbemu.Fault{}
				})
				w.bound()
				if n := w.emulator.CallCounts()["CreateTargetGroup"].Total; n != 1 {
					t.Errorf("the target group was created %d times", n)
				}
				most := 8
				if action == "DescribeTags" {
					most *= 3 // it finds out which ARN is missing
				}
				if n := w.emulator.CallCounts()[action].Total; n > most || w.slept > c.lag+4*time.Second {
					t.Errorf("it took %d calls and %v", n, w.slept)
				}
			})
		}
	}
}

// A second attempt must not take a new target group for gone either.
func TestNewTargetGroupThatIsNotShownIsNotCreatedAgain(t *testing.T) {
	w := newWorld(t)
	h := w.holding()
	w.throttle("CreateListener", 1)
	b := w.binder()
	if err := w.bind(b, h); err == nil {
		t.Fatal("a throttled call succeeded")
	}
	w.emulator.SetFault(func(call elbemu.Call) elbemu.Fault {
		if call.Action == "DescribeTargetHealth" && w.sleptSoFar() < 5*time.Second {
			return elbemu.Refuse(http.StatusBadRequest, "TargetGroupNotFound", "not found")
		}
		return elbemu.Fault{}
	})
	if err := w.bind(b, h); err != nil {
		t.Fatal(err)
	}
	if n := w.emulator.CallCounts()["CreateTargetGroup"].Total; n != 1 {
		t.Errorf("the target group was created %d times", n)
	}
}

func TestDeniedCallOnAnOlderTargetGroupIsNotRepeated(t *testing.T) {
	w := newWorld(t)
	w.claim = w.bound().Claim
	w.claim.Ports[0].ListenerARN = ""
	before := w.emulator.CallCounts()["CreateListener"].Total
	w.emulator.SetFault(func(call elbemu.Call) elbemu.Fault {
		if call.Action == "CreateListener" {
			return elbemu.Refuse(http.StatusForbidden, "AccessDenied", "no")
		}
		return elbemu.Fault{}
	})
	h := w.holding()
	if err := w.bind(w.binder(), h); err == nil || w.slept > 0 {
		t.Errorf("got %v after %v", err, w.slept)
	}
	if n := w.emulator.CallCounts()["CreateListener"].Total - before; n != 1 {
		t.Errorf("it was called %d times", n)
	}
}

// AWS takes two seconds to know what was created, and every call before costs the account
// another. All ports of a claim wait together.
func TestNothingIsUsedBeforeAWSKnowsIt(t *testing.T) {
	for _, ports := range []int{1, 3} {
		t.Run(fmt.Sprint(ports, " ports"), func(t *testing.T) {
			for range 20 { // each call draws whether it misses what is new
				w := newWorldOn(t, elbemu.Config{Delays: &elbemu.Delays{TargetGroupLag: 2 * time.Second, ListenerVisible: 2 * time.Second}})
				w.claim.PropagationSeconds = 2
				w.morePorts(ports)
				w.bound()
				for action, want := range map[string]int{
					"CreateTargetGroup": ports, "RegisterTargets": ports, "CreateListener": ports, "DescribeTags": 1,
				} {
					if n := w.emulator.CallCounts()[action].Total; n != want {
						t.Errorf("%d calls of %s, want %d", n, action, want)
					}
				}
				if w.slept != 4*time.Second {
					t.Errorf("it waited %v", w.slept)
				}
			}
		})
	}
}

// AWS shows the parts of a binding one after another.
func TestTagsAreAskedOnlyForWhatIsUnseen(t *testing.T) {
	w := newWorldOn(t, elbemu.Config{Delays: &elbemu.Delays{ListenerVisible: 3 * time.Second}})
	w.claim.PropagationSeconds = 2
	w.morePorts(2)
	last := 0
	w.emulator.SetFault(func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DescribeTags" {
			last = strings.Count(c.Params.Encode(), "ResourceArns.member")
		}
		return elbemu.Fault{}
	})
	w.bound()
	if last != 2 {
		t.Errorf("the last question was about %d resources, want the 2 listeners", last)
	}
}

// An agent that was restarted knows of no creation and waits for nothing.
func TestNothingIsWaitedForThatWasThereBefore(t *testing.T) {
	w := newWorld(t)
	w.claim = w.bound().Claim
	w.claim.PropagationSeconds = 2
	if w.bound(); w.slept > 0 {
		t.Errorf("it waited %v", w.slept)
	}
}
