package health

import "time"

// GameState is whether the game runs.
type GameState int

// The states of a game.
const (
	// GameUnwatched is the state while nobody looks.
	GameUnwatched GameState = iota
	// GameStarting is a game that was not seen running by this agent. It may take as long
	// as it wants, and may open its ports one after another.
	GameStarting
	GameRunning
	GameStopped
)

const (
	// stopAfter is how long a game that ran must be missing before it counts as stopped. A
	// quick restart is not worth an alarm.
	stopAfter = 4 * time.Second
	// backAfter is how long a game that stopped must run before it counts as back, so that
	// a game that dies while it starts does not.
	backAfter = 2 * time.Second
)

// The pauses between two looks at the game. With stopAfter, a dead game is known within
// ten seconds.
const (
	steadyPause = 4 * time.Second
	unsurePause = time.Second
)

// Game judges whether the game runs. The zero value has not seen it. It is for one
// goroutine.
type Game struct {
	state GameState
	// since is since when every look contradicts state; zero if the last did not.
	since time.Time
	// problem is why the game does not run, as last seen.
	problem string
}

// State is the state, and why the game does not run if it does not.
func (g *Game) State() (state GameState, problem string) { return g.state, g.problem }

// Look takes a look at the game: problem is why it does not run, empty if it does. It
// reports whether that changed the state.
func (g *Game) Look(now time.Time, problem string) (changed bool) {
	before, runs := g.state, problem == ""
	if !runs {
		g.problem = problem
	}
	switch {
	case g.state == GameUnwatched && !runs:
		g.state = GameStarting
	case g.state == GameUnwatched, g.state == GameStarting && runs:
		g.state = GameRunning
	case g.state == GameRunning && !runs:
		g.change(now, stopAfter, GameStopped)
	case g.state == GameStopped && runs:
		g.change(now, backAfter, GameRunning)
	default:
		g.since = time.Time{}
	}
	return g.state != before
}

// change changes the state once the contradiction has lasted.
func (g *Game) change(now time.Time, after time.Duration, to GameState) {
	if g.since.IsZero() {
		g.since = now
	}
	if now.Sub(g.since) >= after {
		g.state, g.since = to, time.Time{}
	}
}

// Pause is how long to wait before the next look.
func (g *Game) Pause() time.Duration {
	if g.state == GameRunning && g.since.IsZero() {
		return steadyPause
	}
	return unsurePause
}
