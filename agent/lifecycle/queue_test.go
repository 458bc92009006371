package lifecycle_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// waits are the waits in the queue that one answer after another asks for; then none.
func waits(list ...time.Duration) func() time.Duration {
	return func() time.Duration {
		if len(list) == 0 {
			return 0
		}
		wait := list[0]
		list = list[1:]
		return wait
	}
}

func TestBindingWaitsInTheQueue(t *testing.T) {
	for name, c := range map[string]struct {
		waits  []time.Duration
		events []string
	}{
		"long":  {[]time.Duration{30 * time.Second, 29 * time.Second, 500 * time.Millisecond}, []string{"WaitingForBudget", "Announced"}},
		"short": {[]time.Duration{time.Second, time.Second}, []string{"Announced"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				w.ledger.queue = waits(c.waits...)
				p := w.start()
				asked := 0
				for _, wait := range c.waits {
					synctest.Wait()
					if asked++; w.ledger.count("claim") != asked || w.agentCalls("CreateTargetGroup") != 0 || p.Live() != nil || p.Started() == nil {
						t.Errorf("while it waits it has claimed %d times, want %d, and made %d target groups; live: %v",
							w.ledger.count("claim"), asked, w.agentCalls("CreateTargetGroup"), p.Live())
					}
					time.Sleep(wait)
				}
				synctest.Wait()
				if p.Started() != nil || w.ledger.count("claim") != len(c.waits)+1 {
					t.Errorf("after its waits: started %v, claimed %d times", p.Started(), w.ledger.count("claim"))
				}
				w.checkBound(30000)
				if !slices.Equal(w.ownPod.events, c.events) {
					t.Errorf("events are %v, want %v", w.ownPod.events, c.events)
				}
				p.term()
			})
		})
	}
}

// TestRepairWaitsInTheQueue also checks that an agent that is bound does not wait.
func TestRepairWaitsInTheQueue(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.ledger.change(func() { w.ledger.queue = func() time.Duration { return time.Minute } })
		renewals := w.ledger.count("renew")
		time.Sleep(5 * time.Minute)
		if n := w.ledger.count("renew") - renewals; p.Ready() != nil || n < 9 {
			t.Errorf("what is bound waits: ready %v, %d renewals", p.Ready(), n)
		}
		listeners, claims := must[int](w)(w.removeListeners()), w.ledger.count("claim")
		w.ledger.change(func() { w.ledger.rebind = []string{"lb-30000"} })
		w.await("not ready", func() bool { return p.Ready() != nil })
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if n := w.agentCalls("CreateListener"); n != listeners || w.announced() == "" {
			t.Errorf("it made %d listeners before its turn and announces %q", n-listeners, w.announced())
		}
		w.ledger.change(func() { w.ledger.queue = nil })
		w.awaitReady(p)
		w.checkBound(30000)
		// A new claim could give it another port, so it renews the one it has.
		if n := w.ledger.count("claim") - claims; n != 0 {
			t.Errorf("it claimed again %d times", n)
		}
		p.term()
	})
}

// removeListeners deletes all listeners by hand, and returns how many the agent has
// created.
func (w *world) removeListeners() (int, error) {
	listeners, err := w.aws.Listeners(w.t.Context(), w.lb)
	if err != nil {
		return 0, err
	}
	for _, l := range listeners {
		if err := w.aws.DeleteListener(w.t.Context(), l.ARN); err != nil {
			return 0, err
		}
	}
	return w.agentCalls("CreateListener"), nil
}

func TestThrottledCallsAreReportedOnce(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		throttled := 0
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.AccessKeyID == "AGENT" && (call.Action == "CreateListener" || call.Action == "RegisterTargets") && throttled < 3 {
				throttled++
				return elbemu.Throttle()
			}
			return elbemu.Fault{}
		})
		refusals := 0
		w.ledger.refuse = func(call string) error {
			if call == "renew" && throttled == 2 && refusals < 2 { // it was not heard
				refusals++
				return api.Errorf(api.Unavailable, "no API server")
			}
			return nil
		}
		p := w.start()
		w.awaitReady(p)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.ledger.change(func() {
			if want := []int{0, 0, 2, 1, 0, 0}; len(w.ledger.throttled) < len(want) || !slices.Equal(w.ledger.throttled[:len(want)], want) {
				t.Errorf("reported %v, want %v", w.ledger.throttled, want)
			}
		})
		p.term()
	})
}
