package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// The allocator does not answer meanwhile, which must not delay what is known of the game.
func TestStoppedGameIsSeenWithinFifteenSecondsAndSoIsItsReturn(t *testing.T) {
	for name, unreachable := range map[string]bool{"allocator answers": false, "allocator hangs": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, elbemu.Config{Healthy: func(string, int) bool { return true }}, func(t *testing.T, w *world) {
				p := w.start()
				w.awaitReady(p)
				shows := func(what string, up bool, reason string) {
					t.Helper()
					c := w.ownPod.condition()
					if (p.Ready() == nil) != up || (p.HealthCheck(false) == nil) != up || c.Reachable != up || c.Reason != reason {
						t.Errorf("%s: ready: %v, healthy: %v, condition %+v", what, p.Ready(), p.HealthCheck(false), c)
					}
					if want := fmt.Sprint(map[bool]int{true: 1, false: 0}[up]); p.metric("portlease_agent_game_up") != want || p.metric("portlease_agent_reachable") != want {
						t.Errorf("%s: the metrics say up %s and reachable %s", what, p.metric("portlease_agent_game_up"), p.metric("portlease_agent_reachable"))
					}
				}
				shows("running", true, "TargetHealthy")
				release := make(chan struct{})
				if unreachable {
					w.ledger.change(func() { w.ledger.hang = release })
					time.Sleep(40 * time.Second) // into a renewal
				}
				calls := len(w.emulator.Calls())
				w.dead.Store(true)
				time.Sleep(15 * time.Second)
				synctest.Wait()
				shows("stopped", false, "GameStopped")
				if c := w.ownPod.condition(); !strings.Contains(c.Message, "game (7777/UDP)") || p.metric("portlease_agent_game_stops_total") != "1" {
					t.Errorf("the condition is %+v, and %s stops are counted", c, p.metric("portlease_agent_game_stops_total"))
				}
				time.Sleep(time.Hour)
				if n := len(w.emulator.Calls()); n != calls {
					t.Errorf("a game that does not run cost %d calls to AWS", n-calls)
				}
				w.dead.Store(false)
				time.Sleep(15 * time.Second)
				close(release)
				w.awaitReady(p) // once its targets were described again
				synctest.Wait()
				shows("back", true, "TargetHealthy")
				if events := w.ownPod.recorded(); !slices.Equal(events, []string{"Announced", "GameStopped", "GameBack"}) {
					t.Errorf("events are %v", events)
				}
				told := w.ownPod.count()
				calls = len(w.emulator.Calls())
				time.Sleep(time.Hour)
				if n := len(w.emulator.Calls()) - calls; n != 0 || w.ownPod.count() != told {
					t.Errorf("an hour cost %d calls to AWS and %d to the API server", n, w.ownPod.count()-told)
				}
				p.term()
			})
		})
	}
}

func TestQuickRestartOfTheGameIsNotTold(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		told := w.ownPod.count()
		for range 100 {
			w.dead.Store(true)
			time.Sleep(time.Second)
			w.dead.Store(false)
			time.Sleep(5300 * time.Millisecond) // not in step with the looks
			if p.Ready() != nil {
				t.Fatalf("not ready: %v", p.Ready())
			}
		}
		if events := w.ownPod.recorded(); !slices.Equal(events, []string{"Announced"}) || w.ownPod.count() != told {
			t.Errorf("events are %v, and the condition was set %d times", events, w.ownPod.count()-told)
		}
		p.term()
	})
}

// A game may load for an hour. Its pod is started and has its endpoint, and costs nothing.
func TestGameThatStartsLateIsReadyThen(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.dead.Store(true)
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		time.Sleep(time.Hour)
		synctest.Wait()
		if c := w.ownPod.condition(); c.Reachable || c.Reason != "GameStarting" || p.Ready() == nil || p.HealthCheck(false) == nil || w.announced() == "" {
			t.Errorf("the condition is %+v, ready: %v, healthy: %v", c, p.Ready(), p.HealthCheck(false))
		}
		if n := w.agentCalls("DescribeTargetHealth"); n != 0 {
			t.Errorf("%d describe calls before the game runs", n)
		}
		w.dead.Store(false)
		w.awaitReady(p)
		if events := w.ownPod.recorded(); !slices.Equal(events, []string{"Announced"}) {
			t.Errorf("events are %v", events)
		}
		p.term()
	})
}

func TestGameThatCannotBeSeenCountsAsBefore(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.setGame(func(context.Context) (string, error) { return "", errors.New("no such file") })
		time.Sleep(time.Hour)
		if p.Ready() != nil || p.metric(`portlease_agent_errors_total{class="other"}`) != "1" {
			t.Errorf("ready: %v, errors: %s", p.Ready(), p.metric(`portlease_agent_errors_total{class="other"}`))
		}
		p.term()
	})
}

// The game of a pod that ends is meant to stop.
func TestGameOfAWithdrawnPodMayStop(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		w.terminate(p)
		synctest.Wait()
		w.dead.Store(true)
		time.Sleep(time.Minute)
		if events := w.ownPod.recorded(); !slices.Equal(events, []string{"Announced"}) || w.ownPod.condition().Reason != "Withdrawn" {
			t.Errorf("events are %v, the condition is %+v", events, w.ownPod.condition())
		}
		w.stopListening()
		p.term()
		w.checkEmpty()
	})
}

func TestHealthChecksThatStopMakeThePodUnreachable(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		time.Sleep(time.Hour) // no check came yet, and perhaps none ever will
		if p.Ready() != nil {
			t.Errorf("not ready: %v", p.Ready())
		}
		for range 10 {
			if err := p.HealthCheck(true); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
		}
		if p.Ready() != nil || p.metric(`portlease_agent_health_checks_total{answer="pass"}`) != "10" {
			t.Errorf("ready: %v, checks: %s", p.Ready(), p.metric(`portlease_agent_health_checks_total{answer="pass"}`))
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if c := w.ownPod.condition(); p.Ready() == nil || c.Reason != "HealthChecksStopped" {
			t.Errorf("ready: %v, condition %+v", p.Ready(), c)
		}
		w.dead.Store(true)
		time.Sleep(15 * time.Second)
		if p.HealthCheck(true) == nil || p.metric(`portlease_agent_health_checks_total{answer="fail"}`) != "1" {
			t.Error("a dead game passes the health check")
		}
		w.dead.Store(false)
		w.awaitReady(p)
		p.term()
	})
}

func TestWaitingPodSaysWhyFromItsFirstSecond(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.ledger.hang = release
		shows := func(reason string, parts ...string) {
			t.Helper()
			c := w.ownPod.condition()
			if c.Reachable || c.Reason != reason {
				t.Errorf("the condition is %+v, want %s", c, reason)
			}
			for _, part := range parts {
				if !strings.Contains(c.Message, part) {
					t.Errorf("%q does not say %q", c.Message, part)
				}
			}
		}
		p := w.start()
		time.Sleep(time.Second)
		synctest.Wait()
		shows("Claiming")
		place := 3
		w.ledger.change(func() {
			w.ledger.hang = nil
			w.ledger.refuse = func(string) error {
				return api.Errorf(api.Exhausted, "no port is free: %d of 4 waiting claims", place).WithRetryAfter(time.Second)
			}
		})
		since := time.Now()
		close(release)
		time.Sleep(time.Second)
		synctest.Wait()
		shows("PoolExhausted", "3 of 4 waiting claims, waiting since "+since.UTC().Format(time.RFC3339))
		// Its place in the queue changes all the time, and is not written each time.
		before := w.ownPod.count()
		for range 100 {
			w.ledger.change(func() { place++ })
			time.Sleep(6 * time.Second)
		}
		if n := w.ownPod.count() - before; n < 2 || n > 6 {
			t.Errorf("the condition was set %d times in ten minutes", n)
		}
		shows("PoolExhausted", "waiting since "+since.UTC().Format(time.RFC3339))
		w.ledger.change(func() { w.ledger.refuse, w.ledger.queue = nil, waits(time.Minute) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		shows("WaitingForBudget", "a few calls a second")
		w.awaitReady(p)
		p.term()
	})
}
