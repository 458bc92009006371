package lifecycle

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portlease/portlease/shared/elb"
)

// Unbinds delete by ARN; absent is success.
type Unbinds interface {
	DeleteListener(ctx context.Context, arn string) error
	// DeleteTargetGroup answers elb.ErrInUse while a listener forwards to it, and
	// for some seconds after that was deleted.
	DeleteTargetGroup(ctx context.Context, arn string) error
}

const (
	// Each try is a mutating call of the account's few a second.
	firstUnbindPause = 2 * time.Second
	mostUnbindPause  = 4 * time.Second
	// leftoverTimeout is how long an agent that lives on works at what it does not
	// need any more. AWS may say for 20 s that a target group is still in use
	// (https://github.com/kubernetes-sigs/aws-load-balancer-controller).
	leftoverTimeout = 30 * time.Second
)

// unbindLeftovers deletes the bindings that the claim does not list any more.
// Those that resist are left to the janitor.
func (a *Agent) unbindLeftovers(ctx context.Context, h *holding) {
	if len(h.leftovers) == 0 {
		return
	}
	ctx, cancel := a.Clock.Timeout(ctx, leftoverTimeout)
	defer cancel()
	a.unbind(ctx, h.leftovers)
	h.leftovers = nil
}

// unbind deletes listeners and then target groups, and gives those bindings that
// are gone. It ends when all are gone, when nothing more can be done, or with
// ctx.
func (a *Agent) unbind(ctx context.Context, all []leftover) (gone []leftover) {
	rest := slices.Clone(all)
	for pause := firstUnbindPause; ; pause = min(2*pause, mostUnbindPause) {
		var waiting []leftover
		for _, l := range rest {
			done, err := a.unbindOne(ctx, &l)
			a.noteThrottled(err)
			switch {
			case done:
				gone = append(gone, l)
				a.Log.InfoContext(ctx, "port unbound", "lease", l.tags.Lease, "generation", l.tags.Generation, "arn", l.targetGroup)
			case needsPerson(err):
				a.complain(ctx, "binding not deleted", err, "lease", l.tags.Lease, "generation", l.tags.Generation)
			default:
				waiting = append(waiting, l)
				a.Log.DebugContext(ctx, "binding not gone yet", "lease", l.tags.Lease, "err", err)
			}
		}
		if rest = waiting; len(rest) == 0 {
			return gone
		}
		if err := a.pause(ctx, pause+time.Duration(a.Jitter()*float64(pause)/4)); err != nil {
			for _, l := range rest {
				a.complain(ctx, "binding left to the janitor", err, "lease", l.tags.Lease, "generation", l.tags.Generation, "arn", l.targetGroup)
			}
			return gone
		}
	}
}

// unbindOne takes one binding as far as it goes. Every ARN is deleted only with
// the tags of the fence on it, because the knowledge of it may be old.
func (a *Agent) unbindOne(ctx context.Context, l *leftover) (done bool, err error) {
	if err := a.checkOwn(ctx, l); err != nil {
		return false, err
	}
	if l.listener != "" && !l.unlistened {
		if err := a.LoadBalancer.DeleteListener(ctx, l.listener); err != nil {
			return false, err
		}
		l.unlistened = true
	}
	if l.targetGroup == "" {
		return true, nil
	}
	err = a.LoadBalancer.DeleteTargetGroup(ctx, l.targetGroup)
	if !errors.Is(err, elb.ErrInUse) {
		return err == nil, err
	}
	// A listener may be there whose creation was never answered.
	return false, errors.Join(err, a.deleteUnseen(ctx, *l))
}

// checkOwn looks once whether a binding carries other tags than its fence's. What
// cannot be seen may have been made a moment ago, and is deleted all the same: the
// ARN is this fence's, and only a deletion proves that it is gone.
func (a *Agent) checkOwn(ctx context.Context, l *leftover) error {
	if l.checked {
		return nil
	}
	arns := slices.DeleteFunc([]string{l.listener, l.targetGroup}, func(arn string) bool { return arn == "" })
	if _, err := a.own(ctx, l.tags, arns); err != nil {
		return err
	}
	l.checked = true
	return nil
}

// deleteUnseen deletes the listeners of this fence that forward to the target
// group.
func (a *Agent) deleteUnseen(ctx context.Context, l leftover) error {
	listeners, err := a.LoadBalancer.Listeners(ctx, l.loadBalancer)
	if err != nil {
		return err
	}
	var arns []string
	for _, one := range listeners {
		if slices.Contains(one.TargetGroupARNs, l.targetGroup) {
			arns = append(arns, one.ARN)
		}
	}
	return a.deleteOwn(ctx, l.tags, arns...)
}

// deleteOwn deletes listeners that carry these tags; errForeign, and none is
// deleted, if one carries others.
func (a *Agent) deleteOwn(ctx context.Context, tags elb.Tags, arns ...string) error {
	own, err := a.own(ctx, tags, arns)
	if err != nil {
		return err
	}
	for _, arn := range own {
		if err := a.LoadBalancer.DeleteListener(ctx, arn); err != nil {
			return err
		}
	}
	return nil
}

// own gives those of the ARNs that exist; errForeign if one carries other tags.
func (a *Agent) own(ctx context.Context, want elb.Tags, arns []string) ([]string, error) {
	if len(arns) == 0 {
		return nil, nil
	}
	tags, err := a.LoadBalancer.Tags(ctx, arns...)
	if err != nil {
		return nil, err
	}
	var own []string
	for _, arn := range arns {
		m, exists := tags[arn]
		if !exists {
			continue
		}
		if got, ok := elb.ReadTags(m); !ok || got != want {
			return nil, foreign(arn, m)
		}
		own = append(own, arn)
	}
	return own, nil
}
