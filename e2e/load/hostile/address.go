package hostile

import (
	"context"
	"fmt"
	"net/http"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// reuseAddress gives the address of a pod that was just deleted to another pod, while
// the janitor cannot delete the first pod's listener. Nobody but the second pod's own
// listener may forward to it once it is bound.
func reuseAddress(ctx context.Context, w *world) (judge, error) {
	w.faultReplicas(ctx, func(c elbemu.Call) elbemu.Fault {
		if c.Action == "DeleteListener" || c.Action == "DeleteTargetGroup" {
			return elbemu.ServerError()
		}
		return elbemu.Fault{}
	})
	earlier, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := earlier.bind(ctx, poolOpen); err != nil {
		return nil, err
	}
	if err := earlier.Crash(ctx); err != nil {
		return nil, err
	}
	next, err := w.newAttackerAt(ctx, earlier.IP)
	if err != nil {
		return nil, err
	}
	if _, _, err := next.bind(ctx, poolOpen); err != nil {
		return nil, err
	}
	forwarding := 0
	s := w.Emulator.Snapshot()
	for _, g := range s.TargetGroups {
		if g.Tags[elb.TagPodUID] != earlier.UID {
			continue
		}
		for _, t := range g.Targets {
			if t.ID == next.IP && t.DeregisteredAt.IsZero() {
				forwarding++
			}
		}
	}
	return func(context.Context) (outcome, error) {
		return got(forwarding > 0, "%d old listeners forward to the new pod", forwarding)
	}, nil
}

// claimIPv6 claims with an IPv6 address, which the target groups cannot take.
func claimIPv6(ctx context.Context, w *world) (judge, error) {
	const ip = "fd00::7"
	a, err := w.newAttacker(ctx) // calls from its IPv4 address: this machine has no such IPv6 address
	if err != nil {
		return nil, err
	}
	if err := w.Kube.MovePod(ctx, w.Games, a.Name, ip); err != nil {
		return nil, err
	}
	a.IP = ip
	given, err := a.put(ctx, poolOpen, gamePort)
	if err != nil {
		return nil, err
	}
	return func(context.Context) (outcome, error) {
		switch {
		case given.ok():
			return got(true, "a listener port, and a share of AWS's calls, that it cannot use")
		case given.status >= http.StatusInternalServerError:
			return outcome{}, fmt.Errorf("answered %v", given)
		}
		return got(false, "%v", given)
	}, nil
}
