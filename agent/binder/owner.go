package binder

import (
	"context"
	"fmt"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/shared/elb"
)

// confirmOwn returns once all resources are seen to carry exactly these tags. It
// returns failure.ErrForeign if one carries others.
func (b *Binder) confirmOwn(ctx context.Context, want elb.Tags, arns ...string) error {
	begun := b.Clock.Now()
	for pause := firstLagPause; ; pause = min(2*pause, mostLagPause) {
		own, err := b.own(ctx, want, arns...)
		if err != nil || len(own) == len(arns) {
			return err
		}
		if b.Clock.Now().Sub(begun) >= goneWhileNew {
			return fmt.Errorf("checking the tags of %v: AWS shows only %v", arns, own)
		}
		if err := b.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// own returns those of the resources that exist. It returns failure.ErrForeign if
// one carries other tags.
func (b *Binder) own(ctx context.Context, want elb.Tags, arns ...string) ([]string, error) {
	if len(arns) == 0 {
		return nil, nil
	}
	tags, err := b.LoadBalancer.Tags(ctx, arns...)
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
			return nil, fmt.Errorf("checking the tags of %s: %w: it carries %v; find out who made it and delete it", arn, failure.ErrForeign, m)
		}
		own = append(own, arn)
	}
	return own, nil
}

// deleteOwnListeners deletes those of the listeners that exist. If one carries other
// tags it deletes none and returns failure.ErrForeign.
func (b *Binder) deleteOwnListeners(ctx context.Context, tags elb.Tags, arns ...string) error {
	own, err := b.own(ctx, tags, arns...)
	if err != nil {
		return err
	}
	for _, arn := range own {
		if err := b.LoadBalancer.DeleteListener(ctx, arn); err != nil {
			return err
		}
	}
	return nil
}
