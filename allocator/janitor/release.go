package janitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
)

// getPort is a fresh read of a port lease, which may be absent.
func (j *Janitor) getPort(ctx context.Context, name string) (r ledger.Record[ledger.Port], exists bool, err error) {
	r, err = j.Ports.Get(ctx, name)
	if errors.Is(err, ledger.ErrAbsent) {
		return r, false, nil
	}
	return r, err == nil, err
}

// beginRelease begins to release one held port.
func (j *Janitor) beginRelease(ctx context.Context, r ledger.Record[ledger.Port], agent ledger.AgentPart, reason string) error {
	before := r.Value
	r.Value = r.Value.BeginRelease(agent)
	r.Value.UpdatedAt = j.Now()
	updated, err := j.Ports.Update(ctx, r)
	if err != nil {
		return fmt.Errorf("beginning to release %s (%s): %w", r.Name, reason, err)
	}
	j.Count("begin release", reason)
	j.Log.InfoContext(ctx, "port release begun", "lease", r.Name, "port", before.ListenerPort, "generation", before.Generation,
		"holder", before.Namespace+"/"+before.Pod, "reason", reason, "state", updated.Value.State)
	return nil
}

// checkOwner releases a held port that its claim does not list. It reads the port
// before the claim. A plan that comes to list the port later must also write the port
// later, and then the janitor's write fails.
func (j *Janitor) checkOwner(ctx context.Context, r ledger.Record[ledger.Port]) error {
	port, exists, err := j.getPort(ctx, r.Name)
	if err != nil || !exists {
		return err
	}
	if port.Value.State != ledger.Claimed && port.Value.State != ledger.Bound {
		return nil
	}
	c, err := j.Claims.Get(ctx, port.Value.Holder)
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return j.checkOwnerPod(ctx, port)
	case err != nil:
		return err
	case c.Value.State == ledger.Waiting && !c.Value.Planned && port.Value.Foreign == "":
		// The claim was created again after its lease was lost. It will list the port
		// as soon as it is planned.
		return j.checkOwnerPod(ctx, port)
	case !c.Value.Lists(port.Value.Fence(port.Name)):
		return j.beginRelease(ctx, port, ledger.AgentAbsent, "claim does not list the port")
	}
	return nil
}

// checkOwnerPod releases a port whose claim lease was lost, if its pod is gone. The
// port must have been unchanged for as long as an agent needs to have its claim
// adopted.
func (j *Janitor) checkOwnerPod(ctx context.Context, port ledger.Record[ledger.Port]) error {
	if j.Observer.Age(port.Name, port.Version) < j.Timing.ClaimDuration {
		return nil
	}
	pod, err := j.GetPod(ctx, port.Value.Namespace, port.Value.Pod)
	if err != nil {
		return err
	}
	if !ledger.Gone(pod, port.Value.PodUID) {
		return nil
	}
	return j.beginRelease(ctx, port, ledger.AgentAbsent, "claim lease and pod are gone")
}

// startCooldown records that the binding of a releasing port is gone.
func (j *Janitor) startCooldown(ctx context.Context, r ledger.Record[ledger.Port]) error {
	r.Value.State, r.Value.Holder, r.Value.Agent = ledger.Cooldown, "", ledger.AgentAbsent
	r.Value.TargetGroupARN, r.Value.ListenerARN, r.Value.TargetHealth = "", "", ""
	r.Value.Restored, r.Value.Registering, r.Value.Deregistered = false, false, false
	r.Value.UpdatedAt = j.Now()
	if _, err := j.Ports.Update(ctx, r); err != nil {
		return fmt.Errorf("starting the cooldown of %s: %w", r.Name, err)
	}
	j.Count("start cooldown", "binding gone")
	j.Log.InfoContext(ctx, "port unbound, cooldown started", "lease", r.Name, "port", r.Value.ListenerPort, "generation", r.Value.Generation)
	return nil
}

// endCooldown frees a port after its cooldown, unless it is blocked.
func (j *Janitor) endCooldown(ctx context.Context, r ledger.Record[ledger.Port]) error {
	r.Value = r.Value.Rest()
	r.Value.UpdatedAt = j.Now()
	if _, err := j.Ports.Update(ctx, r); err != nil {
		return fmt.Errorf("ending the cooldown of %s: %w", r.Name, err)
	}
	j.Count("end cooldown", "cooldown over")
	j.Log.InfoContext(ctx, "cooldown ended", "state", r.Value.State, "lease", r.Name, "port", r.Value.ListenerPort, "generation", r.Value.Generation)
	return nil
}
