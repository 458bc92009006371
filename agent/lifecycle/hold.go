package lifecycle

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// Renewals prolong a claim. Only lost ends it; every other error is weather.
type Renewals interface {
	Renew(ctx context.Context, namespace, pod string, r api.RenewRequest) (api.RenewAnswer, error)
}

// leastRenewal guards against an answer that asks for renewals without pause.
const leastRenewal = time.Second

// hold renews until the claim is lost or moved or ctx is over. Meanwhile it looks
// until the targets are healthy, and heeds what is said.
func (a *Agent) hold(ctx context.Context, h *holding) error {
	var trouble trouble
	next := a.Clock.Now().Add(a.renewal(h, 1))
	for {
		a.heed(ctx, h)
		at := next
		if a.health.looking && !a.notReady && a.health.at.Before(at) {
			at = a.health.at
		}
		if woken, err := a.nap(ctx, at.Sub(a.Clock.Now())); err != nil {
			return err
		} else if woken {
			continue
		}
		answer, moved, err := a.renew(ctx, h)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, api.ErrLost):
			return err
		case err != nil:
			a.meet(ctx, &trouble, "claim not renewed", err)
			next = a.Clock.Now().Add(a.renewal(h, 3))
			a.health.at = next
			continue
		case moved:
			return errMoved
		}
		trouble.passed()
		if len(h.unbound()) > 0 {
			if err := a.rebind(ctx, h); err != nil {
				return err
			}
		} else if a.looks(h) > 0 {
			a.look(ctx, h, answer)
		}
		// What is new, and what could not be said earlier.
		a.tellPod(ctx, h)
		a.tellCondition(ctx, tellTimeout)
		next = a.Clock.Now().Add(a.renewal(h, 1))
	}
}

// heed does what was said since it was last called.
func (a *Agent) heed(ctx context.Context, h *holding) {
	notReady, _, stopping := a.words.heard()
	if stopping && !a.leaving {
		a.heedStopping(ctx, h)
	}
	if notReady == a.notReady {
		return
	}
	a.notReady = notReady
	h.forgetHealth()
	if a.startLooking(ctx, h); notReady {
		a.unreachable("GameNotReady", "the game said that it takes no players now")
	}
	a.Log.InfoContext(ctx, "game spoke", "ready", !notReady)
	a.tellCondition(ctx, tellTimeout)
}

// heedStopping withdraws the announcement because the pod ends: nobody new should
// come, and who is on may stay. A preStop hook also runs when only this container
// is restarted, and then nothing ends.
func (a *Agent) heedStopping(ctx context.Context, h *holding) {
	if !a.podEnds(ctx) {
		a.Log.WarnContext(ctx, "preStop was called although the pod is not being deleted: the announcement stays")
		a.words.say(func(w *words) { w.stopping = false })
		return
	}
	a.withdraw(ctx, h)
}

// renewal is the time to the next renewal, a part of the claim's interval spread
// by a tenth to either side.
func (a *Agent) renewal(h *holding, part int) time.Duration {
	d := time.Duration(h.claim.RenewSeconds * float64(time.Second) / float64(part))
	d = max(d, leastRenewal)
	return d*9/10 + time.Duration(a.Jitter()*float64(d)/5)
}

// renew prolongs the claim once and takes over what the ledger has. Ports whose
// binding was seen damaged count as unbound from then on.
func (a *Agent) renew(ctx context.Context, h *holding) (answer api.RenewAnswer, moved bool, err error) {
	reported := a.throttled
	answer, err = a.Allocator.Renew(ctx, a.Pod.Namespace, a.Pod.Name, api.RenewRequest{
		ClaimUID: h.claim.UID, PodIP: a.Pod.IP, Pool: a.Pool, Ports: h.presented(), Throttled: reported, Describes: a.looks(h),
	})
	if err == nil {
		err = a.check(answer.Claim)
	}
	if err != nil {
		return answer, false, err
	}
	a.throttled -= reported
	a.Metrics.renewals.Inc()
	moved = h.adopt(answer.Claim)
	for _, p := range h.claim.Ports {
		if slices.Contains(answer.Rebind, p.Fence.Lease) {
			h.learn(p.Fence, func(b *binding) { b.bound, b.health = false, "" })
			a.Log.WarnContext(ctx, "binding was reported damaged", "port", p.ListenerPort, "lease", p.Fence.Lease)
		}
	}
	return answer, moved, nil
}

// rebind repairs damaged bindings in place. The announcement stays, because the
// endpoint does, and is written again with what was made anew.
func (a *Agent) rebind(ctx context.Context, h *holding) error {
	a.status.setBound(false)
	a.unreachable("Rebinding", "the binding was found damaged and is repaired")
	a.tellCondition(ctx, tellTimeout)
	if err := a.bind(ctx, h); err != nil {
		return err
	}
	return a.announce(ctx, h)
}

func endpoints(c api.Claim) string {
	var list []string
	for _, p := range c.Ports {
		list = append(list, net.JoinHostPort(c.LoadBalancer.Host, strconv.Itoa(p.ListenerPort))+" ("+p.Name+")")
	}
	return strings.Join(list, ", ")
}

// lose gives up a claim that is over. Its announcement is withdrawn by now. What
// carries the old fences is unbound as far as that goes quickly; the rest is the
// janitor's.
func (a *Agent) lose(ctx context.Context, h *holding, reason error) {
	a.Metrics.lost.Inc()
	a.Metrics.bound.Set(0)
	a.status.setBound(false)
	a.health.looking = false
	a.Log.ErrorContext(ctx, "claim lost", "lease", leases(h.claim), "err", reason)
	a.tell(ctx, Warning, "Lost", reason.Error())
	for _, p := range h.claim.Ports {
		h.leave(h.claim, p)
	}
	h.claim = api.Claim{}
	a.unbindLeftovers(ctx, h)
}
