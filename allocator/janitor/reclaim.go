package janitor

import (
	"context"
	"errors"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
)

// looksPerClaim is how often in one claim duration the pod of an expired claim is
// looked at.
const looksPerClaim = 8

// judge ends an expired claim if its pod is gone. A live pod keeps its ports,
// and gets an event once.
func (j *Janitor) judge(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	v := r.Value
	// A lost node leaves many expired claims whose pods stay for long; they are
	// not all asked for in every sweep.
	if j.Now().Sub(j.looked[r.Name]) < v.Duration/looksPerClaim {
		return nil
	}
	j.looked[r.Name] = j.Now()
	pod, err := j.GetPod(ctx, v.Namespace, v.Pod)
	if err != nil {
		return err
	}
	if !ledger.Gone(pod, v.PodUID) {
		return j.warnSilent(ctx, r)
	}
	// The version is the one that was seen unchanged: a renewal since then makes
	// this write lose.
	r.Value.State = ledger.ClaimReleasing
	r.Value.RenewedAt = j.Now()
	if _, err := j.Claims.Update(ctx, r); err != nil {
		return fmt.Errorf("reclaiming %s of %s/%s (pod gone and claim expired): %w", r.Name, v.Namespace, v.Pod, err)
	}
	j.Count("reclaim", "pod gone and claim expired")
	j.Log.InfoContext(ctx, "claim reclaimed because its pod is gone and it expired", "holder", v.Namespace+"/"+v.Pod, "podUID", v.PodUID, "ports", len(v.Ports))
	j.tell(ctx, v.Namespace, v.Pod, v.PodUID, "PortsReclaimed", fmt.Sprintf("the pod is gone and its claim was not renewed for %v: its %d ports are taken back", v.Duration, len(v.Ports)))
	return nil
}

func (j *Janitor) warnSilent(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	if r.Value.State != ledger.Granted || j.warned[r.Name] == r.Version {
		return nil
	}
	j.Count("warn", "live pod does not renew")
	j.Log.WarnContext(ctx, "claim not renewed although its pod lives", "holder", r.Value.Namespace+"/"+r.Value.Pod, "podUID", r.Value.PodUID)
	if err := j.Warn(ctx, r.Value.Namespace, r.Value.Pod, r.Value.PodUID, "PortClaimNotRenewed",
		"the portlease agent of this pod has not renewed its claim; the pod keeps its ports as long as it exists: look at the agent's log"); err != nil {
		return err
	}
	j.warned[r.Name] = r.Version
	return nil
}

// letGo starts the release of one held port.
func (j *Janitor) letGo(ctx context.Context, r ledger.Record[ledger.Port], agent ledger.AgentPart, reason string) error {
	before := r.Value
	r.Value = r.Value.BeginRelease(agent)
	r.Value.UpdatedAt = j.Now()
	updated, err := j.Ports.Update(ctx, r)
	if err != nil {
		return fmt.Errorf("letting go of %s (%s): %w", r.Name, reason, err)
	}
	j.Count("let go", reason)
	j.Log.InfoContext(ctx, "port let go", "lease", r.Name, "port", before.ListenerPort, "generation", before.Generation, "holder", before.Namespace+"/"+before.Pod, "reason", reason, "state", updated.Value.State)
	if updated.Value.State == ledger.Releasing && agent != ledger.AgentUnbinding {
		return j.unbind(ctx, updated)
	}
	return nil
}

// verify looks at a held port that no claim seems to list. The port is read
// before the claim: a plan that comes to list it later must also write the port
// later, and then the write below loses.
func (j *Janitor) verify(ctx context.Context, r ledger.Record[ledger.Port]) error {
	port, err := j.Ports.Get(ctx, r.Name)
	if errors.Is(err, ledger.ErrAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	if port.Value.State != ledger.Claimed && port.Value.State != ledger.Bound {
		return nil
	}
	c, err := j.Claims.Get(ctx, port.Value.Holder)
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return j.verifyWithoutClaim(ctx, port)
	case err != nil:
		return err
	case c.Value.State == ledger.Waiting && !c.Value.Planned && port.Value.Foreign == "":
		// The claim was begun anew after its lease was lost, and will remember the
		// port as soon as it can be planned.
		return j.verifyWithoutClaim(ctx, port)
	case !c.Value.Lists(port.Value.Fence(port.Name)):
		return j.letGo(ctx, port, ledger.AgentAbsent, "its claim does not list it")
	}
	return nil
}

// verifyWithoutClaim keeps both keys for a port whose claim lease was deleted:
// the pod must be gone, and the port must have been seen unchanged for the time
// an agent needs to have its claim restored.
func (j *Janitor) verifyWithoutClaim(ctx context.Context, port ledger.Record[ledger.Port]) error {
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
	return j.letGo(ctx, port, ledger.AgentAbsent, "its claim lease and its pod are gone")
}

// open makes a port available again after its cooldown, unless it is blocked.
func (j *Janitor) open(ctx context.Context, r ledger.Record[ledger.Port]) error {
	r.Value = r.Value.Rest()
	r.Value.UpdatedAt = j.Now()
	if _, err := j.Ports.Update(ctx, r); err != nil {
		return fmt.Errorf("opening %s (cooldown over): %w", r.Name, err)
	}
	j.Count("open", "cooldown over")
	j.Log.InfoContext(ctx, "cooldown over", "state", r.Value.State, "lease", r.Name, "port", r.Value.ListenerPort, "generation", r.Value.Generation)
	return nil
}

// forget deletes an ending claim once none of its ports is its own any more, by
// consistent reads: a grant that was under way when the claim ended may still
// have taken one.
func (j *Janitor) forget(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	for _, p := range r.Value.Ports {
		port, err := j.Ports.Get(ctx, p.Fence.Lease)
		if errors.Is(err, ledger.ErrAbsent) {
			continue
		}
		if err != nil {
			return err
		}
		if port.Value.Holds(r.Name, p.Fence) {
			return nil
		}
	}
	if err := j.Claims.Delete(ctx, r); err != nil {
		return fmt.Errorf("forgetting %s (claim released): %w", r.Name, err)
	}
	j.Count("forget", "claim released")
	j.Log.InfoContext(ctx, "claim released", "holder", r.Value.Namespace+"/"+r.Value.Pod, "podUID", r.Value.PodUID)
	return nil
}
