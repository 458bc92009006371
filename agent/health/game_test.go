package health_test

import (
	"testing"
	"time"

	"github.com/portlease/portlease/agent/health"
)

const (
	silent = "no process listens on port game (7777/UDP)"
	runs   = ""
)

// look is one look at the game, so many milliseconds after the one before.
type look struct {
	after   time.Duration
	problem string
	want    health.GameState
}

func TestGameIsJudgedByWhatLasts(t *testing.T) {
	const second = time.Second
	for name, looks := range map[string][]look{
		"found running": {{0, runs, health.GameRunning}},
		"takes its time to start": {
			{0, silent, health.GameStarting}, {time.Hour, silent, health.GameStarting}, {second, runs, health.GameRunning},
		},
		"restarts in a second": {
			{0, runs, health.GameRunning}, {4 * second, silent, health.GameRunning}, {second, runs, health.GameRunning},
			{4 * second, silent, health.GameRunning}, {3 * second, silent, health.GameRunning}, {second, runs, health.GameRunning},
		},
		"two short restarts are not one long one": {
			{0, runs, health.GameRunning}, {4 * second, silent, health.GameRunning}, {second, runs, health.GameRunning},
			{3 * second, silent, health.GameRunning}, {second, runs, health.GameRunning},
		},
		"stops and comes back": {
			{0, runs, health.GameRunning}, {4 * second, silent, health.GameRunning}, {4 * second, silent, health.GameStopped},
			{time.Hour, silent, health.GameStopped}, {second, runs, health.GameStopped}, {second, runs, health.GameStopped}, {second, runs, health.GameRunning},
		},
		"dies while it starts again": {
			{0, runs, health.GameRunning}, {second, silent, health.GameRunning}, {5 * second, silent, health.GameStopped},
			{second, runs, health.GameStopped}, {second, silent, health.GameStopped}, {second, runs, health.GameStopped}, {second, silent, health.GameStopped},
		},
		"is missing when the agent starts": {{0, silent, health.GameStarting}, {time.Minute, silent, health.GameStarting}},
	} {
		t.Run(name, func(t *testing.T) {
			var game health.Game
			now, before := start, health.GameUnwatched
			for n, l := range looks {
				now = now.Add(l.after)
				changed := game.Look(now, l.problem)
				state, problem := game.State()
				if state != l.want || changed != (state != before) {
					t.Errorf("look %d: the state is %d, changed: %v; want %d", n, state, changed, l.want)
				}
				if l.problem != runs && problem != l.problem {
					t.Errorf("look %d: the problem is %q", n, problem)
				}
				before = state
			}
		})
	}
}

// The promise is 15 seconds. A look may take three itself, over HTTP.
func TestGameThatStopsIsKnownWithinFifteenSeconds(t *testing.T) {
	for name, took := range map[string]time.Duration{"sockets": 0, "a game that hangs": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var game health.Game
			game.Look(start, runs)
			// It stops right after a look.
			stopped, now := start, start
			for state := health.GameRunning; state == health.GameRunning; state, _ = game.State() {
				now = now.Add(game.Pause()).Add(took)
				game.Look(now, silent)
			}
			if after := now.Sub(stopped); after > 14*time.Second {
				t.Errorf("it is known to have stopped after %v", after)
			}
			back := now
			for state := health.GameStopped; state == health.GameStopped; state, _ = game.State() {
				now = now.Add(game.Pause()).Add(took)
				game.Look(now, runs)
			}
			if after := now.Sub(back); after > 14*time.Second {
				t.Errorf("it is known to be back after %v", after)
			}
		})
	}
}

func TestHealthChecksStopOnlyAfterTheyCame(t *testing.T) {
	for name, c := range map[string]struct {
		interval time.Duration
		arrives  bool
		silence  time.Duration
		want     bool
	}{
		"none came yet":            {10 * time.Second, false, time.Hour, false},
		"they come":                {10 * time.Second, true, 30 * time.Second, false},
		"three are missing":        {10 * time.Second, true, 31 * time.Second, true},
		"rare ones":                {30 * time.Second, true, 89 * time.Second, false},
		"rare ones are missing":    {30 * time.Second, true, 91 * time.Second, true},
		"frequent ones for a bit":  {5 * time.Second, true, 29 * time.Second, false},
		"the game is checked, not": {0, true, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			var checks health.Checks
			checks.Expect(c.interval)
			if c.arrives {
				checks.Arrived(start)
			}
			if got := checks.Stopped(start.Add(c.silence)); got != c.want {
				t.Errorf("stopped: %v", got)
			}
			checks.Expect(c.interval)
			if checks.Stopped(start.Add(24 * time.Hour)) {
				t.Error("a new binding remembers the checks of the one before")
			}
		})
	}
}
