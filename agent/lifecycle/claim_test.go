package lifecycle_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

func TestExhaustedPoolIsAskedAtTheRequestedTimes(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ledger.refuse = func(string) error {
			return api.Errorf(api.Exhausted, "no port is free").WithRetryAfter(5 * time.Second)
		}
		p := w.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		// The allocator says when a port may be free.
		if n := w.ledger.count("claim"); n < 650 || n > 720 {
			t.Errorf("asked %d times in an hour, want about once each five seconds", n)
		}
		if p.Live() != nil || p.Ready() == nil || p.Started() == nil {
			t.Errorf("live: %v, ready: %v, started: %v", p.Live(), p.Ready(), p.Started())
		}
		// It is told after 1, 2, 4 and so on attempts.
		if got := w.ownPod.all(); !slices.Equal(got, slices.Repeat([]string{"PoolExhausted"}, 10)) {
			t.Errorf("events are %v", got)
		}
		w.ledger.change(func() { w.ledger.refuse = nil })
		w.awaitReady(p)
		w.checkBound(30000)
		p.term()
	})
}

func TestInvalidClaimIsRetriedSlowly(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.ledger.refuse = func(string) error { return api.Errorf(api.Invalid, "pool default does not exist") }
		p := w.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.ledger.count("claim"); n < 40 || n > 61 {
			t.Errorf("asked %d times in an hour", n)
		}
		if took := p.term(); took > 0 {
			t.Errorf("ending took %v", took)
		}
	})
}

func TestLostClaimIsWithdrawnUnboundAndClaimedAgain(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.ledger.lose()
		w.await("other endpoint", func() bool { return w.announced() == "games.elb.example:30001" })
		w.awaitReady(p)
		w.checkBound(30001)
		if p.metric("portlease_agent_claims_lost_total") != "1" || !slices.Contains(w.ownPod.events, "ClaimLost") {
			t.Errorf("lost %s times, events %v", p.metric("portlease_agent_claims_lost_total"), w.ownPod.events)
		}
		p.term()
		w.checkEmpty()
	})
}

func TestOnlyLostEndsAClaim(t *testing.T) {
	for _, transient := range []error{
		errors.New("no route to host"), api.Errorf(api.Unauthenticated, "no"), api.Errorf(api.Forbidden, "no"),
		api.Errorf(api.Internal, "no"), api.Errorf(api.Unavailable, "no"), api.Errorf("new-code", "no"),
	} {
		t.Run(transient.Error(), func(t *testing.T) {
			inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
				p := w.start()
				w.awaitReady(p)
				before := len(w.emulator.Calls())
				w.ledger.change(func() { w.ledger.refuse = func(string) error { return transient } })
				time.Sleep(time.Hour)
				synctest.Wait()
				if p.Ready() != nil || w.announced() == "" || len(w.emulator.Calls()) != before {
					t.Errorf("ready: %v, announced %q", p.Ready(), w.announced())
				}
				w.ledger.change(func() { w.ledger.refuse = nil })
				p.term()
				w.checkEmpty()
			})
		})
	}
}

// The ledger has lost them.
func TestRenewalPresentsAllARNs(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		want := w.ledger.now().Ports
		w.ledger.change(func() {
			w.ledger.claim.Ports[0].TargetGroupARN, w.ledger.claim.Ports[0].ListenerARN = "", ""
		})
		for range 2 {
			renewals := w.ledger.count("renew")
			w.await("renewal", func() bool { return w.ledger.count("renew") > renewals })
		}
		if !reflect.DeepEqual(w.ledger.presented, want) {
			t.Errorf("presented %+v, want %+v", w.ledger.presented, want)
		}
		p.term()
	})
}

// Players who came to the old port would meet another pod. The endpoint stays withdrawn
// as long as there is no new claim.
func TestLostClaimIsWithdrawnBeforeItIsUnbound(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.setFault(func(call elbemu.Call) elbemu.Fault {
			if call.Action == "DeleteListener" && (w.announced() != "" || w.ownPod.says() != 0) {
				t.Errorf("unbound while it announces %q and port %d", w.announced(), w.ownPod.says())
			}
			return elbemu.Fault{}
		})
		w.ledger.lose()
		w.ledger.change(func() {
			w.ledger.refuse = func(call string) error {
				if call == "claim" {
					return api.Errorf(api.Exhausted, "no free port")
				}
				return nil
			}
		})
		time.Sleep(10 * time.Minute) // in the bubble's time
		if w.announced() != "" || w.ownPod.says() != 0 {
			t.Errorf("it announces %q and port %d, which are another pod's", w.announced(), w.ownPod.says())
		}
		w.setFault(nil)
		w.ledger.change(func() { w.ledger.refuse = nil })
		w.await("other endpoint", func() bool { return w.announced() == "games.elb.example:30001" && w.ownPod.says() == 30001 })
		w.awaitReady(p)
		p.term()
		w.checkEmpty()
	})
}
