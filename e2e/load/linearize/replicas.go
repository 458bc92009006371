package linearize

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/portlease/portlease/e2e/load/scenario"
)

var replicaFaults = []scenario.ReplicaFault{
	scenario.ReplicaKilled, scenario.ReplicaPaused, scenario.ReplicaCutOffKubernetes, scenario.ReplicaCutOffAWS,
}

// failReplicas makes one or two replicas fail at a time until ctx ends. Every fault
// that began is also ended.
func (c *system) failReplicas(ctx context.Context, rng *rand.Rand) error {
	ending := context.WithoutCancel(ctx)
	var errs []error
	for ctx.Err() == nil {
		scenario.Wait(ctx, time.Duration(50+rng.IntN(200))*time.Millisecond)
		hit := rng.Perm(len(c.rig.Replicas))[:1+rng.IntN(2)]
		which := make([]scenario.ReplicaFault, len(hit))
		for i, n := range hit {
			which[i] = replicaFaults[rng.IntN(len(replicaFaults))]
			errs = append(errs, which[i].Begin(ending, c.rig.Replicas[n]))
		}
		scenario.Wait(ctx, time.Duration(50+rng.IntN(250))*time.Millisecond)
		for i, n := range hit {
			errs = append(errs, which[i].End(ending, c.rig.Replicas[n]))
		}
	}
	return errors.Join(errs...)
}
