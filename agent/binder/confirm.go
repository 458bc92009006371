package binder

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/portlease/portlease/agent/failure"
	"github.com/portlease/portlease/shared/elb"
)

// confirmTags returns once all parts of all bindings are seen to carry exactly the tags
// of their fence. It returns failure.ErrForeign if one carries others. It asks for all
// parts together, and repeats the question only for those that AWS did not show.
func (all attempts) confirmTags(ctx context.Context) error {
	rest := all.usable()
	if len(rest) == 0 {
		return nil
	}
	b, begun, pauses := rest[0].Binder, rest[0].Clock.Now(), lagPausesOf(rest[0].holding.Claim)
	unseen := make(map[string]*attempt) // by ARN
	for _, a := range rest {
		unseen[a.targetGroup], unseen[a.listener] = a, a
	}
	for {
		arns := slices.Sorted(maps.Keys(unseen))
		tags, err := b.LoadBalancer.Tags(ctx, arns...)
		if err != nil && !rest[0].tooEarly(err) {
			return rest[0].failed(err)
		}
		for _, arn := range arns {
			m, seen := tags[arn]
			if !seen {
				continue
			}
			if err := checkTags(arn, m, unseen[arn].tags); err != nil {
				return unseen[arn].failed(err)
			}
			delete(unseen, arn)
		}
		if len(unseen) == 0 {
			return nil
		}
		if b.Clock.Now().Sub(begun) >= goneWhileNew {
			missing := slices.Sorted(maps.Keys(unseen))
			return unseen[missing[0]].failed(fmt.Errorf("checking tags: AWS does not show %v", missing))
		}
		if err := pauses.sleep(ctx, b); err != nil {
			return rest[0].failed(err)
		}
	}
}

// checkTags returns failure.ErrForeign for a resource that carries other tags.
func checkTags(arn string, got map[string]string, want elb.Tags) error {
	if t, ok := elb.ReadTags(got); !ok || t != want {
		return fmt.Errorf("checking the tags of %s: %w: it carries %v; find out who made it and delete it", arn, failure.ErrForeign, got)
	}
	return nil
}
