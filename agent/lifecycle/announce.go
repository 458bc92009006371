package lifecycle

import (
	"context"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/agent/holding"
	"github.com/portlease/portlease/agent/pod"
	"github.com/portlease/portlease/agent/reporter"
)

// announcePhase publishes the endpoint of a bound claim, and removes it again.
type announcePhase struct {
	env
	reach       *reachability
	status      *status
	termination *termination
}

// run writes the files, lets the game start, which does not wait for the API server, and then
// tells watchers of the pod. A pod that terminates, or may do so, is not announced.
func (p *announcePhase) run(ctx context.Context, h *holding.Holding) error {
	if p.termination.begun || !p.termination.doubted.IsZero() {
		return nil
	}
	if err := p.publish(ctx, h); err != nil {
		return err
	}
	h.Announced, h.Moved = true, false
	p.reach.announced()
	p.status.setStarted()
	p.reporter.Annotate(ctx)
	for _, port := range h.Claim.Ports {
		p.log.InfoContext(ctx, "endpoint announced", "host", h.Claim.LoadBalancer.Host, "port", port.ListenerPort, "targetPort", port.TargetPort)
	}
	p.reporter.Event(ctx, pod.Normal, reporter.ReasonAnnounced, "players reach this pod at "+h.Endpoints())
	return nil
}

// publish records no event when it fails: an agent that cannot write its shared volume
// is seen by its startup probe.
func (p *announcePhase) publish(ctx context.Context, h *holding.Holding) error {
	var wait backoff.Backoff
	for {
		err := p.reporter.Announce(ctx, h.Claim)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.failures.Failed(ctx, "failed to write the endpoint files; retrying", err)
		if err := p.clock.Sleep(ctx, wait.Next(err, p.jitter)); err != nil {
			return err
		}
	}
}

// withdraw removes the endpoint: no new players should come. It works also after ctx
// is over.
func (p *announcePhase) withdraw(ctx context.Context, h *holding.Holding) {
	h.Announced = false
	p.reach.withdrawn()
	p.reporter.Withdraw(ctx, p.reach.condition())
}
