package binder

import (
	"context"

	"github.com/portlease/portlease/shared/elb"
)

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
		if err := checkTags(arn, m, want); err != nil {
			return nil, err
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
