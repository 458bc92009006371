package signals_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/agent/signals"
	"github.com/portlease/portlease/shared/daemon"
)

func TestSignalEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s signals.Signals
		time.AfterFunc(time.Minute, s.GameDrained)
		start := time.Now()
		woken, err := s.Wait(t.Context(), daemon.Sleep, time.Hour)
		if !woken || err != nil || time.Since(start) != time.Minute || !s.Read().Drained {
			t.Errorf("after %v woken is %v, %v, the state %+v", time.Since(start), woken, err, s.Read())
		}
	})
}

func TestUnreadSignalEndsTheNextWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s signals.Signals
		s.GameNotReady()
		for _, c := range []struct {
			read  bool
			woken bool
			after time.Duration
		}{{false, true, 0}, {false, true, 0}, {true, false, time.Hour}} {
			if c.read && !s.Read().NotReady {
				t.Error("the signal is lost")
			}
			start := time.Now()
			if woken, err := s.Wait(t.Context(), daemon.Sleep, time.Hour); woken != c.woken || err != nil || time.Since(start) != c.after {
				t.Errorf("after %v woken is %v, %v; want %v after %v", time.Since(start), woken, err, c.woken, c.after)
			}
		}
	})
}

func TestEndOfTheContextIsNoSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s signals.Signals
		ctx, stop := context.WithCancelCause(t.Context())
		over := errors.New("SIGTERM")
		time.AfterFunc(time.Minute, func() { stop(over) })
		if woken, err := s.Wait(ctx, daemon.Sleep, time.Hour); woken || !errors.Is(err, over) {
			t.Errorf("woken is %v, %v", woken, err)
		}
	})
}

func TestGameAnswersUnlessItIsNotReady(t *testing.T) {
	var s signals.Signals
	for _, step := range []struct {
		signal  func()
		answers bool
	}{{func() {}, true}, {s.GameNotReady, false}, {s.PodStopping, false}, {s.GameReady, true}} {
		step.signal()
		if err := s.GameAnswers(); (err == nil) != step.answers {
			t.Errorf("answers %v, want %v", err, step.answers)
		}
	}
	if state := s.Read(); !state.Stopping || state.NotReady {
		t.Errorf("the state is %+v", state)
	}
	if s.ClearStopping(); s.Read().Stopping {
		t.Error("the pod still counts as stopping")
	}
}
