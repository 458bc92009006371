package janitor

import (
	"context"
	"fmt"

	"github.com/portlease/portlease/allocator/ledger"
)

// podChecksPerClaim is how often in one claim duration the pod of an expired claim is
// read. A lost node leaves many expired claims whose pods stay for long, and reading
// all of them in every sweep would be too much.
const podChecksPerClaim = 8

// checkExpiry releases an expired claim if its pod is gone. A live pod keeps its ports
// and gets one event.
func (j *Janitor) checkExpiry(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	v := r.Value
	if j.Now().Sub(j.podChecked[r.Name]) < v.Duration/podChecksPerClaim {
		return nil
	}
	j.podChecked[r.Name] = j.Now()
	pod, err := j.GetPod(ctx, v.Namespace, v.Pod)
	if err != nil {
		return err
	}
	if !ledger.Gone(pod, v.PodUID) {
		return j.warnNotRenewed(ctx, r)
	}
	// r is the version that was observed unchanged: a renewal since then makes this
	// write fail.
	r.Value.State = ledger.ClaimReleasing
	r.Value.RenewedAt = j.Now()
	if _, err := j.Claims.Update(ctx, r); err != nil {
		return fmt.Errorf("reclaiming %s of %s/%s (pod gone and claim expired): %w", r.Name, v.Namespace, v.Pod, err)
	}
	j.Count("reclaim", "pod gone and claim expired")
	j.Log.InfoContext(ctx, "claim reclaimed: its pod is gone and it expired", "holder", v.Namespace+"/"+v.Pod, "podUID", v.PodUID, "ports", len(v.Ports))
	j.recordEvent(ctx, v.Namespace, v.Pod, v.PodUID, "PortsReclaimed",
		fmt.Sprintf("The pod is gone and its claim was not renewed for %v: the janitor reclaims its %d ports", v.Duration, len(v.Ports)))
	return nil
}

// warnNotRenewed creates an event for a granted claim whose live pod is silent, once
// for each version of the claim.
func (j *Janitor) warnNotRenewed(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	v := r.Value
	if v.State != ledger.Granted || j.warned[r.Name] == r.Version {
		return nil
	}
	j.Count("warn", "live pod does not renew")
	j.Log.WarnContext(ctx, "agent does not renew its claim although its pod is alive", "holder", v.Namespace+"/"+v.Pod, "podUID", v.PodUID)
	if err := j.Warn(ctx, v.Namespace, v.Pod, v.PodUID, "PortClaimNotRenewed",
		"The portlease agent of this pod has not renewed its claim. The pod keeps its ports as long as it exists. Check the agent's log."); err != nil {
		return err
	}
	j.warned[r.Name] = r.Version
	return nil
}

// deleteClaim deletes a released claim once none of its ports is held. The ports are
// read fresh, because a grant that was in progress when the release began may have
// taken one since. A port lease that somebody deleted is restored first: its binding may
// still forward to the pod's IP, and only the claim lease records that. If another claim has
// taken the port anew before that, the claim stays until AWS shows nothing of its holding.
func (j *Janitor) deleteClaim(ctx context.Context, r ledger.Record[ledger.Claim]) error {
	held := false
	for i, p := range r.Value.Ports {
		port, exists, err := j.getPort(ctx, p.Fence.Lease)
		if err != nil {
			return err
		}
		if !exists {
			return j.restorePort(ctx, r, i)
		}
		held = held || port.Value.Holds(r.Name, p.Fence) || port.Value.Epoch != p.Fence.Epoch && j.maybeListed(r, p.Fence)
	}
	if held {
		return nil
	}
	if err := j.Claims.Delete(ctx, r); err != nil {
		return fmt.Errorf("deleting %s (claim released): %w", r.Name, err)
	}
	j.Count("delete claim", "claim released")
	j.Log.InfoContext(ctx, "claim released", "holder", r.Value.Namespace+"/"+r.Value.Pod, "podUID", r.Value.PodUID)
	return nil
}

// restorePort writes the lost lease of planned port i of a releasing claim again. Its target
// group is found by its name then.
func (j *Janitor) restorePort(ctx context.Context, r ledger.Record[ledger.Claim], i int) error {
	port, lease := r.Value.Holding(r.Name, i, j.Now()), r.Value.Ports[i].Fence.Lease
	port.Restored, port.NextEpoch = true, j.NewEpoch()
	if _, err := j.Ports.Create(ctx, lease, port); err != nil {
		return fmt.Errorf("restoring port lease %s of released claim %s: %w", lease, r.Name, err)
	}
	j.Count("restore port", "claim released")
	j.Log.WarnContext(ctx, "port lease restored because it is lost and its claim is being released", "lease", lease, "holder", r.Value.Namespace+"/"+r.Value.Pod)
	return nil
}
