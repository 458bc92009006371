package lifecycle

import (
	"context"
	"errors"
	"sync"
	"time"
)

// words is what the game server and the kubelet have said, from other goroutines.
type words struct {
	mu sync.Mutex // guards all below
	// notReady is whether the game said that it takes no players. One that never
	// says anything is ready.
	notReady bool
	// drained is whether the game said that its last player has left.
	drained bool
	// stopping is whether the kubelet said that the pod's termination began.
	stopping bool
	// fresh is whether anything was said since the lifecycle last listened, and wake
	// ends its nap.
	fresh bool
	wake  context.CancelCauseFunc
}

var errWoken = errors.New("something was said")

func (w *words) say(change func(*words)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
	w.fresh = true
	if w.wake != nil {
		w.wake(errWoken)
	}
}

// heard gives what was said so far.
func (w *words) heard() (notReady, drained, stopping bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = false
	return w.notReady, w.drained, w.stopping
}

// sleeper makes wake end a nap, at once if something was said before it.
func (w *words) sleeper(wake context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake = wake
	if wake != nil && w.fresh {
		wake(errWoken)
	}
}

// GameReady and the calls below may come from any goroutine. They say what the game
// server, or for PodStopping the kubelet, wants the lifecycle to know.
func (a *Agent) GameReady() { a.words.say(func(w *words) { w.notReady = false }) }

// GameNotReady keeps players away until GameReady: the health check fails and the
// pod's condition says so. The port stays.
func (a *Agent) GameNotReady() { a.words.say(func(w *words) { w.notReady = true }) }

// GameDrained ends draining: the game needs its port no longer.
func (a *Agent) GameDrained() { a.words.say(func(w *words) { w.drained = true }) }

// PodStopping says that the pod's termination has begun, which a native sidecar is
// not told by SIGTERM before the game has ended.
func (a *Agent) PodStopping() { a.words.say(func(w *words) { w.stopping = true }) }

// GameAnswers is nil unless the game said that it is not ready.
func (a *Agent) GameAnswers() error {
	a.words.mu.Lock()
	defer a.words.mu.Unlock()
	if a.words.notReady {
		return errNotReady
	}
	return nil
}

var errNotReady = errors.New("the game said that it is not ready")

// nap waits like pause until something is said; woken tells whether it was.
func (a *Agent) nap(ctx context.Context, d time.Duration) (woken bool, err error) {
	napping, wake := context.WithCancelCause(ctx)
	defer wake(nil)
	a.words.sleeper(wake)
	defer a.words.sleeper(nil)
	err = a.pause(napping, d)
	if ctx.Err() == nil && errors.Is(context.Cause(napping), errWoken) {
		return true, nil
	}
	return false, err
}
