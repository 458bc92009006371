package lifecycle

import (
	"context"
	"time"

	"github.com/portlease/portlease/agent/clock"
	"github.com/portlease/portlease/agent/health"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
	"github.com/portlease/portlease/agent/signals"
)

// watch looks at the game every few seconds for as long as the agent runs. It has a
// goroutine of its own, because the phases may have to wait for the allocator or AWS. It
// calls neither of them, and the API server only when there is something to tell.
type watch struct {
	env
	// clock is not env's, whose pauses tell the liveness probe that the phases go on.
	clock    clock.Clock
	look     func(ctx context.Context) (problem string, err error)
	reach    *reachability
	signals  *signals.Signals
	counters counters
	// unseen is whether the last look failed.
	unseen bool
}

// firstReport is how long after the start the watch first writes on the pod. Before, the pod
// has no port in any case, and the writes would hold up the claim: both ends of them need the
// processor for a TLS handshake and a token.
const firstReport = time.Second

// run returns when ctx is over.
func (w *watch) run(ctx context.Context) {
	pause := w.once(ctx)
	if w.clock.Sleep(ctx, firstReport) != nil {
		return
	}
	for {
		w.reporter.CatchUp(ctx, w.reach.condition)
		if _, err := w.reach.news.Wait(ctx, w.clock.Sleep, pause); err != nil {
			return
		}
		w.reach.news.Clear()
		pause = w.once(ctx)
	}
}

// once takes one look and tells what has changed.
func (w *watch) once(ctx context.Context) (pause time.Duration) {
	problem, err := w.look(ctx)
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		// A game that cannot be seen counts as it was last seen.
		if !w.unseen {
			w.failures.Failed(ctx, "failed to look at the game; its state counts as before until that works again", err)
		}
		w.unseen = true
		return w.reach.pause()
	}
	w.unseen = false
	before, after := w.reach.looked(problem)
	w.counters.gameUp.Set(number(after == health.GameRunning))
	if before == after || before == health.GameUnwatched {
		return w.reach.pause()
	}
	w.log.InfoContext(ctx, "game seen", "running", after == health.GameRunning, "problem", problem)
	w.signals.Ring() // the phases have the targets described again
	if w.reach.isWithdrawn() {
		return w.reach.pause() // the game of a pod that ends may stop
	}
	switch {
	case after == health.GameStopped:
		w.counters.gameStops.Inc()
		w.reporter.Event(ctx, pod.Warning, reporter.ReasonGameStopped, "players cannot reach the game: "+problem)
	case before == health.GameStopped:
		w.reporter.Event(ctx, pod.Normal, reporter.ReasonGameBack, "the game runs again")
	}
	return w.reach.pause()
}
