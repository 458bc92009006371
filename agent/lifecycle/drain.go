package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// errHurry is why waiting for players ends early.
var errHurry = errors.New("told to hurry")

const (
	// releaseReserve is how much of the grace period is kept for giving back. Saying
	// so takes a moment, and what then does not fit is the janitor's at once.
	releaseReserve = 5 * time.Second
	// usualGrace is Kubernetes' default for a pod's grace period.
	usualGrace = 30 * time.Second
	// drainLook is how often to look whether the game still listens.
	drainLook = time.Second
)

// podEnds asks whether the pod is being deleted, and notes by when it has ended. If
// nobody can tell, it is, because somebody stops this container.
func (a *Agent) podEnds(ctx context.Context) bool {
	asked := a.Clock.Now()
	// SIGTERM may come while it asks: that must not decide the answer.
	asking, cancel := a.Clock.Timeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	ending, err := a.OwnPod.Termination(asking)
	if err != nil {
		a.complain(ctx, "not known whether the pod is being deleted", err)
		ending = Termination{Deleted: true, Grace: usualGrace}
	}
	if ending.Deleted {
		a.leaving, a.deadline = true, asked.Add(ending.Grace)
	}
	return ending.Deleted
}

// listens tells whether the game has any of its ports open. If nobody can tell, it
// has.
func (a *Agent) listens(ctx context.Context) bool {
	yes, err := a.Listens()
	if err != nil {
		a.Log.WarnContext(ctx, "not known whether the game listens", "err", err)
		return true
	}
	return yes
}

// drain keeps the port while the game still has players: until it listens no more,
// says that it is done, or time is up. The claim is renewed meanwhile, so that
// nobody takes the pod for dead.
func (a *Agent) drain(ctx context.Context, hurry <-chan struct{}, h *holding) {
	most := a.Drain
	if !a.deadline.IsZero() {
		most = min(most, a.deadline.Sub(a.Clock.Now())-releaseReserve-a.Deregister)
	}
	// A damaged port is unbound until it is repaired, and may have players all the same.
	if most <= 0 || !h.listens() {
		return // there is no time, or nobody ever came
	}
	a.Log.InfoContext(ctx, "draining began", "seconds", most.Seconds())
	ctx, cancel := a.Clock.Timeout(ctx, most)
	defer cancel()
	ctx, stop := hurried(ctx, hurry)
	defer stop()
	for next := a.Clock.Now().Add(a.renewal(h, 1)); ; {
		if _, drained, _ := a.words.heard(); drained {
			a.Log.InfoContext(ctx, "draining ended: the game says that it is done")
			return
		}
		if _, err := a.nap(ctx, drainLook); err != nil {
			a.Log.InfoContext(ctx, "draining ended", "err", err)
			return
		}
		if !a.listens(ctx) {
			a.Log.InfoContext(ctx, "draining ended: the game listens no more")
			return
		}
		if a.Clock.Now().Before(next) {
			continue
		}
		_, _, err := a.renew(ctx, h)
		if errors.Is(err, api.ErrLost) {
			a.Log.WarnContext(ctx, "draining ended", "err", err)
			return
		}
		if err != nil && ctx.Err() == nil {
			a.complain(ctx, "claim not renewed", err)
		}
		next = a.Clock.Now().Add(a.renewal(h, 1))
	}
}
