package lifecycle

import (
	"context"
	"errors"

	"github.com/portlease/portlease/shared/api"
)

// errHurry is why draining ends early.
var errHurry = errors.New("told to hurry")

// drain lets the players finish who are on. The claim is renewed meanwhile, so
// that nobody takes the pod for dead.
func (a *Agent) drain(ctx context.Context, hurry <-chan struct{}, h *holding) {
	if a.Drain <= 0 || len(h.unbound()) == len(h.claim.Ports) {
		return // nobody ever came
	}
	a.Log.InfoContext(ctx, "draining began", "seconds", a.Drain.Seconds())
	ctx, cancel := a.Clock.Timeout(ctx, a.Drain)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-hurry:
			stop(errHurry)
		case <-ctx.Done():
		}
	}()
	for {
		if err := a.pause(ctx, a.renewal(h, 1)); err != nil {
			a.Log.InfoContext(ctx, "draining ended", "err", err)
			return
		}
		_, err := a.renew(ctx, h)
		if errors.Is(err, api.ErrLost) {
			a.Log.WarnContext(ctx, "draining ended", "err", err)
			return
		}
		if err != nil && ctx.Err() == nil {
			a.complain(ctx, "claim not renewed", err)
		}
	}
}
