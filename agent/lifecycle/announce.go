package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/portlease/portlease/shared/api"
)

// Announcer says where players reach the pod. Both calls replace what was said
// before and may be repeated.
type Announcer interface {
	Announce(ctx context.Context, c api.Claim) error
	Withdraw(ctx context.Context) error
}

// Announcers are told one after another, all of them whatever one of them says.
type Announcers []Announcer

// Announce implements Announcer.
func (all Announcers) Announce(ctx context.Context, c api.Claim) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Announce(ctx, c))
	}
	return errors.Join(errs...)
}

// Withdraw implements Announcer.
func (all Announcers) Withdraw(ctx context.Context) error {
	var errs []error
	for _, one := range all {
		errs = append(errs, one.Withdraw(ctx))
	}
	return errors.Join(errs...)
}

// OwnPod tells whoever watches pods, and knows from the API server's answers
// whether the pod is on its way out.
type OwnPod interface {
	Announcer
	// Reachable sets the pod's condition, which may be a readiness gate.
	Reachable(ctx context.Context, c Condition) error
	// Termination asks whether the pod is being deleted. It changes nothing.
	Termination(ctx context.Context) (Termination, error)
}

// Condition is what the pod's condition says.
type Condition struct {
	Reachable bool
	// Reason is one CamelCase word; Message is for people.
	Reason, Message string
}

// Termination is how a pod ends.
type Termination struct {
	// Deleted is whether the pod is being deleted. A container that is stopped in a
	// pod that is not will be started again, unless the pod's work is done.
	Deleted bool
	// Grace is how long the pod has in all, counted from when it was deleted.
	Grace time.Duration
}

// Kind of an event, in Kubernetes' words.
type Kind string

// The kinds of events.
const (
	Normal  Kind = "Normal"
	Warning Kind = "Warning"
)

// Events tell people the story of the pod. Losing one is no harm.
type Events interface {
	Record(ctx context.Context, kind Kind, reason, message string) error
}

// What is said on the pod is bounded, because nothing should wait for it for
// long: least of all a withdrawal, when two seconds may be all that is left for
// the release.
const (
	tellTimeout     = 5 * time.Second
	withdrawTimeout = time.Second
)

// announce writes the files, which the game server waits for, and then tells
// whoever watches pods.
func (a *Agent) announce(ctx context.Context, h *holding) error {
	if a.leaving {
		return nil
	}
	var pace pace
	for {
		err := a.Files.Announce(ctx, h.claim)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		a.complain(ctx, "files not written", err)
		if err := a.pause(ctx, pace.next(err, a.Jitter)); err != nil {
			return err
		}
	}
	h.announced, h.stale, h.podTold = true, false, false
	a.tellPod(ctx, h)
	a.tellCondition(ctx, tellTimeout)
	a.status.setAnnounced(true)
	for _, p := range h.claim.Ports {
		a.Log.InfoContext(ctx, "endpoint announced", "host", h.claim.LoadBalancer.Host, "port", p.ListenerPort, "targetPort", p.TargetPort)
	}
	a.tell(ctx, Normal, "Announced", "players reach this pod at "+endpoints(h.claim))
	return nil
}

// tellPod writes the annotations if they do not say what the claim says. What
// fails here is done with the next renewal.
func (a *Agent) tellPod(ctx context.Context, h *holding) {
	if h.podTold || a.leaving {
		return
	}
	ctx, cancel := a.Clock.Timeout(ctx, tellTimeout)
	defer cancel()
	if err := a.OwnPod.Announce(ctx, h.claim); err != nil {
		a.complain(ctx, "pod not annotated", err)
		return
	}
	h.podTold = true
}

// withdraw takes the announcement back: nobody new should come. It works
// although ctx may be over.
func (a *Agent) withdraw(ctx context.Context, h *holding) {
	h.announced = false
	a.status.setAnnounced(false)
	a.unreachable("Withdrawn", "the announcement was withdrawn: nobody new should come")
	ctx, cancel := a.Clock.Timeout(context.WithoutCancel(ctx), withdrawTimeout)
	defer cancel()
	if err := a.Files.Withdraw(ctx); err != nil {
		a.complain(ctx, "files not withdrawn", err)
	}
	if err := a.OwnPod.Withdraw(ctx); err != nil {
		a.complain(ctx, "annotations not withdrawn", err)
	}
	// What an earlier agent said is not known here.
	if a.health.told == (Condition{}) || a.health.told.Reachable {
		a.tellCondition(ctx, withdrawTimeout)
	}
	a.Log.InfoContext(ctx, "announcement withdrawn")
}

func (a *Agent) tell(ctx context.Context, kind Kind, reason, message string) {
	ctx, cancel := a.Clock.Timeout(ctx, tellTimeout)
	defer cancel()
	if err := a.Events.Record(ctx, kind, reason, message); err != nil {
		a.complain(ctx, "event not recorded", err)
	}
}
