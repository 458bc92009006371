package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/agent/binder"
	"github.com/portlease/portlease/agent/health"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/signals"
	"github.com/portlease/portlease/shared/api"
)

// holdPhase renews the claim, follows the health of its targets, repairs damaged
// bindings and applies signals.
type holdPhase struct {
	env
	signals     *signals.Signals
	binder      *binder.Binder
	claims      *claims
	bind        *bindPhase
	announce    *announcePhase
	reach       *reachability
	termination *termination
}

// run returns when the claim is lost or moved or ctx is over.
func (p *holdPhase) run(ctx context.Context, h *holding.Holding) error {
	failures := p.reporter.NewFailures()
	next := p.claims.nextRenewal(h, 1)
	for {
		p.applySignals(ctx, h)
		due := p.renewAt(next)
		woken, err := p.signals.Wait(ctx, p.clock.Sleep, p.wakeAt(due).Sub(p.clock.Now()))
		if err != nil {
			return err
		}
		if woken || p.clock.Now().Before(due) {
			continue
		}
		answer, moved, err := p.claims.renew(ctx, h, p.reach.describes(h))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, api.ErrLost):
			return err
		case err != nil:
			failures.Report(ctx, "failed to renew the claim; retrying", err)
			next = p.claims.nextRenewal(h, 3)
			p.reach.postpone(next)
			continue
		case moved:
			return errMoved
		}
		failures.Reset()
		p.reach.consider(h)
		if len(h.Unbound()) > 0 {
			if err := p.repair(ctx, h); err != nil {
				return err
			}
		} else if p.reach.describes(h) > 0 {
			p.describeTargets(ctx, h, answer)
		}
		next = p.claims.nextRenewal(h, 1)
	}
}

// wakeAt is when to do something: renew, or ask again whether the pod terminates.
func (p *holdPhase) wakeAt(renewal time.Time) time.Time {
	if t := p.termination; !t.doubted.IsZero() && t.ask.Before(renewal) {
		return t.ask
	}
	return renewal
}

// renewAt is the time of the next renewal, which is early if targets are to be
// described before.
func (p *holdPhase) renewAt(renewal time.Time) time.Time {
	if at, ok := p.reach.nextDescribe(); ok && at.Before(renewal) {
		return at
	}
	return renewal
}

// describeTargets makes the describe calls that the AWS budget granted.
func (p *holdPhase) describeTargets(ctx context.Context, h *holding.Holding, answer api.RenewAnswer) {
	if answer.Describes == 0 {
		p.reach.refused(backoff.RetryAfter(answer.DescribeAfterSeconds))
		return
	}
	ports := h.NotHealthy()
	if err := p.binder.DescribeTargets(ctx, h, ports[:min(answer.Describes, len(ports))]); err != nil {
		p.failures.Failed(ctx, "failed to describe target health; retrying later", err)
	}
	p.reach.described(ctx, h)
}

// repair binds damaged ports again. The announcement stays, because the endpoint does,
// and is then updated with what was created.
func (p *holdPhase) repair(ctx context.Context, h *holding.Holding) error {
	p.reach.obstructed(health.ReasonRepairing, "the binding is damaged; the agent is repairing it")
	if err := p.bind.run(ctx, h); err != nil {
		return err
	}
	return p.announce.run(ctx, h)
}

// applySignals applies what came since it was last called.
func (p *holdPhase) applySignals(ctx context.Context, h *holding.Holding) {
	state := p.signals.Read()
	if state.Stopping && !p.termination.begun {
		p.applyPodStopping(ctx, h)
	}
	p.applyGameReadiness(ctx, h, !state.NotReady)
	p.reach.catchUp(h)
}

// applyPodStopping withdraws the endpoint at once: no new players should come, and those
// who play stay. The preStop hook also runs when only this container is restarted. Then
// the next agent announces again; if there is none, this one does.
func (p *holdPhase) applyPodStopping(ctx context.Context, h *holding.Holding) {
	t := p.termination
	first := t.doubted.IsZero()
	if first && h.Announced {
		p.announce.withdraw(ctx, h)
	}
	if !first && p.clock.Now().Before(t.ask) || t.check(ctx) {
		return
	}
	t.doubt()
	if p.clock.Now().Sub(t.doubted) < askedLong {
		return
	}
	p.log.WarnContext(ctx, "preStop was called but the pod does not terminate; announcing the endpoint again")
	t.doubted = time.Time{}
	p.signals.ClearStopping()
	if err := p.announce.run(ctx, h); err != nil {
		p.log.DebugContext(ctx, "the endpoint was not announced again", "err", err)
	}
}

func (p *holdPhase) applyGameReadiness(ctx context.Context, h *holding.Holding, ready bool) {
	if p.reach.setGameReady(h, ready) {
		p.log.InfoContext(ctx, "game readiness changed", "ready", ready)
	}
}
