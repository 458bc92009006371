package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Reports tell the ledger what was bound. Each answers lost when the claim or
// fence is over.
type Reports interface {
	// TargetGroup is the license to create the listener.
	TargetGroup(ctx context.Context, namespace, pod string, r api.TargetGroupRequest) error
	Bound(ctx context.Context, namespace, pod string, r api.BoundRequest) error
	// Conflict gives the claim to go on with.
	ReportCollision(ctx context.Context, namespace, pod string, r api.CollisionRequest) (api.Claim, error)
}

// Binds make a binding. Repeating them changes nothing, and success does not
// prove who made what they give.
type Binds interface {
	CreateTargetGroup(ctx context.Context, spec elb.TargetGroupSpec) (arn string, err error)
	RegisterTarget(ctx context.Context, targetGroupARN, ip string, port int) error
	DeregisterTargets(ctx context.Context, targetGroupARN string, targets []elb.Target) error
	CreateListener(ctx context.Context, spec elb.ListenerSpec) (arn string, err error)
	SetAttributes(ctx context.Context, targetGroupARN string, attributes map[string]string) error
}

// Describes read what is in AWS; they may lag behind what was just made. Tags leaves
// out ARNs that are gone.
type Describes interface {
	Targets(ctx context.Context, targetGroupARN string) ([]elb.Target, error)
	Listeners(ctx context.Context, loadBalancerARN string) ([]elb.Listener, error)
	Tags(ctx context.Context, arns ...string) (map[string]map[string]string, error)
}

// What was just made may be unknown to other calls for some seconds; then the
// call is tried again that often.
const (
	lagTries = 5
	lagPause = 2 * time.Second
)

// errForeign is something of the right name that carries other tags.
var errForeign = errors.New("it is not this pod's")

// bind works until every port of the claim is bound. It returns when that is so,
// when the claim is lost, when it moved away from what is announced, or when ctx
// is over.
func (a *Agent) bind(ctx context.Context, h *holding) error {
	var pace pace
	var trouble trouble
	var queued time.Duration
	for {
		if h.announced && h.stale {
			return errMoved
		}
		a.unbindLeftovers(ctx, h)
		former := h.claim.PreviousIP != ""
		if wait := h.bindAfter(); wait > 0 && !former {
			if err := a.queue(ctx, h, wait, &queued); err != nil {
				return err
			}
			continue
		}
		try := a.bindAll
		if former {
			try = a.vacate
		}
		err := try(ctx, h)
		switch {
		case err == nil && former:
			continue
		case err == nil:
			a.status.setBound(true)
			a.startLooking(ctx, h)
			a.Metrics.bound.Set(float64(len(h.claim.Ports)))
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, api.ErrLost):
			return err
		case errors.Is(err, errMoved):
			continue
		}
		a.noteThrottled(err)
		a.meet(ctx, &trouble, "binding failed", err)
		if err := a.pause(ctx, pace.next(err, a.Jitter)); err != nil {
			return err
		}
		// Where the claim stands may be what failed, so it is asked for again; and
		// the next try is paid for anew.
		if err := a.again(ctx, h); err != nil {
			return err
		}
	}
}

// bindAll binds what is unbound. A port that is taken comes last: by then what takes it
// may be gone, if it was another port's own listener, moved by hand.
func (a *Agent) bindAll(ctx context.Context, h *holding) error {
	var taken api.ClaimedPort
	var reason error
	for _, p := range h.unbound() {
		a.status.moved(a.Clock.Now(), 0)
		err := a.bindPort(ctx, h, p)
		if elsewhere(err) {
			if reason == nil {
				taken, reason = p, err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("binding port %d: %w", p.ListenerPort, err)
		}
		a.Metrics.binds.Inc()
		a.Log.InfoContext(ctx, "port bound", "port", p.ListenerPort, "targetPort", p.TargetPort,
			"lease", p.Fence.Lease, "generation", p.Fence.Generation, "arn", h.known(p).listener)
	}
	if reason != nil {
		return fmt.Errorf("binding port %d: %w", taken.ListenerPort, a.conflict(ctx, h, taken, reason))
	}
	return nil
}

// bindPort makes what is missing of one binding. The listener is created only
// after the ledger has recorded the target group, and nothing is believed or
// changed further before both were seen to carry this pod's tags.
func (a *Agent) bindPort(ctx context.Context, h *holding, p api.ClaimedPort) error {
	tags := elb.TagsOf(h.claim, p.Fence)
	found, err := a.inspect(ctx, h, p)
	if err != nil {
		return err
	}
	if found.targetGroup == "" {
		if found.targetGroup, err = a.createTargetGroup(ctx, h, p); err != nil {
			return err
		}
		h.learn(p.Fence, func(b *binding) { b.attributed = b.attributed && b.targetGroup == found.targetGroup })
	}
	h.learn(p.Fence, func(b *binding) { b.targetGroup = found.targetGroup })
	if found.targetGroup != p.TargetGroupARN {
		if err := a.Allocator.TargetGroup(ctx, a.Pod.Namespace, a.Pod.Name, api.TargetGroupRequest{
			ClaimUID: h.claim.UID, Fence: p.Fence, TargetGroupARN: found.targetGroup,
		}); err != nil {
			return err
		}
		h.record(p.Fence, func(q *api.ClaimedPort) { q.TargetGroupARN = found.targetGroup })
	}
	err = a.connect(ctx, h, p, &found)
	// One that resists its deletion is not forgotten: its port would look taken.
	h.learn(p.Fence, func(b *binding) { b.listener = cmp.Or(found.listener, found.damaged) })
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, tags, found.targetGroup, found.listener); err != nil {
		return err
	}
	if err := a.LoadBalancer.DeregisterTargets(ctx, found.targetGroup, found.strangers); err != nil {
		return err
	}
	// The same listener is reported too: the port may count as damaged.
	if err := a.Allocator.Bound(ctx, a.Pod.Namespace, a.Pod.Name, api.BoundRequest{
		ClaimUID: h.claim.UID, Fence: p.Fence, ListenerARN: found.listener,
	}); err != nil {
		return err
	}
	h.record(p.Fence, func(q *api.ClaimedPort) { q.ListenerARN = found.listener })
	h.learn(p.Fence, func(b *binding) { b.bound = true })
	return nil
}

// connect makes this pod a target and creates the listener, both at once: AWS takes
// its time for either, and neither needs the other.
func (a *Agent) connect(ctx context.Context, h *holding, p api.ClaimedPort, f *found) error {
	registering := make(chan error, 1)
	go func() {
		if f.registered {
			registering <- nil
			return
		}
		registering <- a.register(ctx, f.targetGroup, p.TargetPort)
	}()
	var err error
	if f.damaged != "" {
		// One that carries other tags by now is somebody else's: if it is in the way,
		// creating will tell.
		if err = a.deleteOwn(ctx, elb.TagsOf(h.claim, p.Fence), f.damaged); err == nil || errors.Is(err, errForeign) {
			err, f.damaged = nil, ""
		}
	}
	if err == nil && f.listener == "" {
		if err = a.setAttributes(ctx, h, p, f.targetGroup); err == nil {
			f.listener, err = a.LoadBalancer.CreateListener(ctx, elb.ListenerSpec{
				LoadBalancerARN: h.claim.LoadBalancer.ARN, Port: p.ListenerPort, Protocol: p.Protocol,
				TargetGroupARN: f.targetGroup, Tags: elb.TagsOf(h.claim, p.Fence),
			})
		}
	}
	return errors.Join(err, <-registering)
}

func (a *Agent) createTargetGroup(ctx context.Context, h *holding, p api.ClaimedPort) (arn string, err error) {
	return a.LoadBalancer.CreateTargetGroup(ctx, elb.TargetGroupSpec{
		Name: p.TargetGroupName, Protocol: p.Protocol, Port: p.TargetPort, VPC: h.claim.LoadBalancer.VPC,
		HealthCheck: p.HealthCheck, Tags: elb.TagsOf(h.claim, p.Fence),
	})
}

// register makes this pod a target. A target group that was made a moment ago
// may not be known yet.
func (a *Agent) register(ctx context.Context, targetGroup string, port int) error {
	for try := 1; ; try++ {
		err := a.LoadBalancer.RegisterTarget(ctx, targetGroup, a.Pod.IP, port)
		if !errors.Is(err, elb.ErrTargetGroupGone) || try == lagTries {
			return err
		}
		if err := a.pause(ctx, lagPause); err != nil {
			return err
		}
	}
}

// confirm makes sure that everything carries exactly these tags. errForeign if
// something carries others.
func (a *Agent) confirm(ctx context.Context, want elb.Tags, arns ...string) error {
	for try := 1; ; try++ {
		tags, err := a.LoadBalancer.Tags(ctx, arns...)
		if err != nil {
			return err
		}
		missing := ""
		for _, arn := range arns {
			m, exists := tags[arn]
			if !exists {
				missing = arn
				continue
			}
			if got, ok := elb.ReadTags(m); !ok || got != want {
				return foreign(arn, m)
			}
		}
		if missing == "" {
			return nil
		}
		if try == lagTries {
			return fmt.Errorf("checking the tags of %s: it is not there", missing)
		}
		if err := a.pause(ctx, lagPause); err != nil {
			return err
		}
	}
}

func foreign(arn string, tags map[string]string) error {
	return fmt.Errorf("checking the tags of %s: %w: it carries %v; find out who made it and delete it", arn, errForeign, tags)
}
