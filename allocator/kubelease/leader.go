package kubelease

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaderLease is the name of the Lease that elects the replica whose janitor sweeps.
const LeaderLease = "portlease-janitor"

// Timing of the election. A second leader for a moment does no harm: all that a janitor
// does is a compare-and-swap or a deletion by ARN.
const (
	leaderDuration = 15 * time.Second
	leaderRenew    = 10 * time.Second
	leaderRetry    = 2 * time.Second
)

// Lead stands for election until ctx ends, and then releases the Lease. Whenever this
// process becomes the leader it calls lead, with a context that ends when it loses the
// election.
func Lead(ctx context.Context, kube kubernetes.Interface, namespace, identity string, log *slog.Logger, lead func(context.Context)) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: LeaderLease, Namespace: namespace},
		Client:     kube.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}
	for ctx.Err() == nil {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: leaderDuration, RenewDeadline: leaderRenew, RetryPeriod: leaderRetry, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(leading context.Context) {
					log.InfoContext(leading, "became leader; this replica runs the janitor", "identity", identity)
					lead(leading)
				},
				OnStoppedLeading: func() {
					log.InfoContext(ctx, "not the leader; another replica may run the janitor", "identity", identity)
				},
			},
		})
		if err != nil {
			return fmt.Errorf("electing a leader: %w", err)
		}
		elector.Run(ctx)
	}
	return nil
}
