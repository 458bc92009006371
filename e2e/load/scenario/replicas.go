package scenario

import (
	"context"

	"github.com/portlease/portlease/e2e/rig"
)

// ReplicaFault is a fault of an allocator replica that has an end.
type ReplicaFault struct {
	Name       string
	Begin, End func(context.Context, *rig.Replica) error
}

// The faults of replicas.
var (
	ReplicaKilled = ReplicaFault{
		"killed",
		func(ctx context.Context, a *rig.Replica) error { return a.Kill(ctx) },
		func(ctx context.Context, a *rig.Replica) error { return a.Start(ctx) },
	}
	ReplicaStopped = ReplicaFault{
		"stopped",
		func(ctx context.Context, a *rig.Replica) error { return a.Stop(ctx) },
		func(ctx context.Context, a *rig.Replica) error { return a.Start(ctx) },
	}
	ReplicaPaused = ReplicaFault{
		"paused",
		func(_ context.Context, a *rig.Replica) error { return a.Pause() },
		func(_ context.Context, a *rig.Replica) error { return a.Resume() },
	}
	ReplicaCutOffKubernetes = ReplicaFault{
		"cut off from the API server",
		func(_ context.Context, a *rig.Replica) error { a.CutKubernetes(); return nil },
		func(_ context.Context, a *rig.Replica) error { a.Heal(); return nil },
	}
	ReplicaCutOffAWS = ReplicaFault{
		"cut off from AWS",
		func(_ context.Context, a *rig.Replica) error { a.CutAWS(); return nil },
		func(_ context.Context, a *rig.Replica) error { a.Heal(); return nil },
	}
)

// Revive makes every replica serve again.
func Revive(ctx context.Context, replicas []*rig.Replica) error {
	for _, a := range replicas {
		if err := a.Revive(ctx); err != nil {
			return err
		}
	}
	return nil
}
