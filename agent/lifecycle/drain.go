package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/signals"
	"github.com/portlease/portlease/shared/api"
)

// drainPoll is how often to check whether the game still listens.
const drainPoll = time.Second

// drainPhase keeps the port of a stopping pod while players finish.
type drainPhase struct {
	env
	signals     *signals.Signals
	claims      *claims
	termination *termination
	// game reports whether the game listens on any target port.
	game func() (bool, error)
	// most is the longest drain, and deregister what must be left after it.
	most, deregister time.Duration
}

// gameListens assumes that the game listens if that cannot be found out.
func (p *drainPhase) gameListens(ctx context.Context) bool {
	listens, err := p.game()
	if err != nil {
		p.log.WarnContext(ctx, "failed to read the socket tables; assuming that the game listens", "err", err)
		return true
	}
	return listens
}

// run returns when the game listens no more or reports that it is drained, or when
// time is up. It renews the claim meanwhile, so that the janitor does not reclaim it.
func (p *drainPhase) run(ctx context.Context, hurry <-chan struct{}, h *holding.Holding) {
	left := p.termination.within(p.most, p.deregister)
	// A damaged port counts as unbound, and may have players all the same.
	if left <= 0 || !h.HasListener() {
		return
	}
	p.log.InfoContext(ctx, "draining started", "seconds", left.Seconds())
	ctx, cancel := p.clock.Timeout(ctx, p.most)
	defer cancel()
	ctx, stop := hurried(ctx, hurry)
	defer stop()
	p.log.InfoContext(ctx, "draining ended", "reason", p.poll(ctx, h))
}

// poll returns the reason why draining ends.
func (p *drainPhase) poll(ctx context.Context, h *holding.Holding) (reason string) {
	renewal := p.claims.nextRenewal(h, 1)
	for {
		if p.signals.Read().Drained {
			return "the game reports that it is drained"
		}
		left := p.termination.within(drainPoll, p.deregister)
		if left <= 0 {
			return "the grace period is over"
		}
		if _, err := p.signals.Wait(ctx, p.clock.Sleep, left); err != nil {
			return err.Error()
		}
		if !p.gameListens(ctx) {
			return "the game listens no more"
		}
		if p.clock.Now().Before(renewal) {
			continue
		}
		if err := p.termination.refresh(ctx); err != nil {
			p.failures.Failed(ctx, "failed to read how much of the grace period is left; it counts as before", err)
		}
		_, _, err := p.claims.renew(ctx, h, 0)
		if errors.Is(err, api.ErrLost) {
			return err.Error()
		}
		if err != nil && ctx.Err() == nil {
			p.failures.Failed(ctx, "failed to renew the claim while draining; retrying", err)
		}
		renewal = p.claims.nextRenewal(h, 1)
	}
}
