package hostile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// These attackers create a listener themselves and then renew, as an agent does whose
// Leases were lost. A control does the same where the pool allows it and must be
// granted: otherwise a refusal would prove nothing about the rules of the pool.

// craft creates a binding that looks like one of the allocator's.
func (a *attacker) craft(ctx context.Context, loadBalancer string, port int, f api.Fence) (api.ClaimedPort, error) {
	p := api.ClaimedPort{Port: gamePort, ListenerPort: port, Fence: f, HealthCheck: api.HealthCheck{Protocol: "TCP", Port: 9901}}
	tags := a.tags(f)
	var err error
	if p.TargetGroupARN, err = a.group(ctx, elb.TargetGroupName(a.w.Ledger, f), a.IP, tags); err != nil {
		return p, err
	}
	p.ListenerARN, err = a.listener(ctx, loadBalancer, port, p.TargetGroupARN, tags)
	return p, err
}

// adopt asks for the adoption of a crafted binding.
func (a *attacker) adopt(ctx context.Context, poolName string, p api.ClaimedPort) (given answer, err error) {
	req := api.RenewRequest{ClaimUID: "lost", PodIP: a.IP, Pool: poolName, Ports: []api.ClaimedPort{p}}
	err = rig.Eventually(ctx, "an adoption to be answered", func() error {
		given, err = a.call(ctx, a.w.Replicas[0], http.MethodPost, api.CallRenew, req)
		if err == nil && slices.Contains([]api.Code{api.Pending, api.Unavailable, api.RateLimited}, given.problem.Code) {
			err = fmt.Errorf("answered %v", given)
		}
		return err
	})
	return given, err
}

// craftAndAdopt crafts a binding under a fence and has it adopted.
func craftAndAdopt(ctx context.Context, w *world, poolName string, port int, f api.Fence) (answer, error) {
	a, err := w.newAttacker(ctx)
	if err != nil {
		return answer{}, err
	}
	p, err := a.craft(ctx, w.asideARN(), port, f)
	if err != nil {
		return answer{}, err
	}
	return a.adopt(ctx, poolName, p)
}

// freshPort finds a port of the last load balancer that nobody has held or blocked.
func (w *world) freshPort(ctx context.Context, first, last int) (int, error) {
	_, ports, err := w.Leases(ctx)
	if err != nil {
		return 0, err
	}
	for port := first; port <= last; port++ {
		if !slices.ContainsFunc(ports, func(p rig.PortRecord) bool { return p.Name == w.asideLease(port) }) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("every port from %d to %d has a port lease", first, last)
}

func (w *world) asideLease(port int) string {
	return ledger.PortName(ledger.LoadBalancerID(w.asideARN()), port)
}

// adoptionControl shows that the allocator adopts a crafted binding if the pool is open
// and the port is free. So each refusal of an adoption is due to what differs.
func adoptionControl(ctx context.Context, w *world) error {
	port, err := w.freshPort(ctx, firstPort, firstClosedPort-1)
	if err != nil {
		return err
	}
	given, err := craftAndAdopt(ctx, w, poolAside, port, api.Fence{Lease: w.asideLease(port), Epoch: "made-up", Generation: 1})
	if err == nil && !given.ok() {
		err = fmt.Errorf("the control was answered %v, so no refusal of an adoption proves anything", given)
	}
	return err
}

// judgeAdoption says what the answer to an adoption gave the attacker.
func judgeAdoption(given answer, prize string) judge {
	return func(context.Context) (outcome, error) {
		if given.ok() {
			return got(true, "%s", prize)
		}
		if given.status >= http.StatusInternalServerError {
			return outcome{}, fmt.Errorf("answered %v", given)
		}
		return got(false, "%v", given)
	}
}

// adoptInClosedPool adopts in a pool that refuses the pod's namespace.
func adoptInClosedPool(ctx context.Context, w *world) (judge, error) {
	if err := adoptionControl(ctx, w); err != nil {
		return nil, err
	}
	port, err := w.freshPort(ctx, firstClosedPort, firstPort+portsEach-1)
	if err != nil {
		return nil, err
	}
	given, err := craftAndAdopt(ctx, w, poolClosed, port, api.Fence{Lease: w.asideLease(port), Epoch: "made-up", Generation: 1})
	return judgeAdoption(given, fmt.Sprintf("port %d of a pool that is closed to the namespace", port)), err
}

// adoptBlockedPort adopts a port that an admin has blocked.
func adoptBlockedPort(ctx context.Context, w *world) (judge, error) {
	port, err := w.freshPort(ctx, firstPort, firstClosedPort-1)
	if err != nil {
		return nil, err
	}
	admin, err := w.AdminToken(ctx)
	if err != nil {
		return nil, err
	}
	status, text, err := w.Replicas[0].Call(ctx, http.MethodPost,
		api.PortPath(ledger.LoadBalancerID(w.asideARN()), port)+api.CallBlock, admin, `{"reason":"flood"}`)
	if err != nil || status != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("blocking a port was answered %d %s", status, text))
	}
	given, err := craftAndAdopt(ctx, w, poolAside, port, api.Fence{Lease: w.asideLease(port), Epoch: "made-up", Generation: 1})
	return judgeAdoption(given, fmt.Sprintf("port %d, which an admin had blocked", port)), err
}

// adoptInCooldown adopts a port that cools down after another pod, as its next holder.
func adoptInCooldown(ctx context.Context, w *world) (judge, error) {
	earlier, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	c, _, err := earlier.bind(ctx, poolAside)
	if err != nil {
		return nil, err
	}
	held := c.Ports[0]
	if err := earlier.release(ctx, c); err != nil {
		return nil, err
	}
	if err := rig.Eventually(ctx, "the port to cool down", func() error {
		p, err := w.Port(ctx, held.Fence.Lease)
		if err == nil && p.Value.State != ledger.Cooldown {
			err = fmt.Errorf("it is %s", p.Value.State)
		}
		return err
	}); err != nil {
		return nil, err
	}
	next := held.Fence
	next.Generation++
	given, err := craftAndAdopt(ctx, w, poolAside, held.ListenerPort, next)
	return judgeAdoption(given, fmt.Sprintf("port %d in its cooldown", held.ListenerPort)), err
}

// claimManyPorts claims more ports than a pod may have.
func claimManyPorts(ctx context.Context, w *world) (judge, error) {
	const many = 20
	a, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	var ports []api.Port
	for n := range many {
		ports = append(ports, api.Port{Name: fmt.Sprintf("p%d", n), TargetPort: 7000 + n, Protocol: api.UDP})
	}
	given, err := a.put(ctx, poolOpen, ports...)
	if err != nil {
		return nil, err
	}
	return func(context.Context) (outcome, error) {
		switch c, err := given.claim(); {
		case err == nil:
			return got(true, "%d ports for one pod", len(c.Ports))
		case given.problem.Code == api.Quota:
			return got(false, "%v", given)
		}
		return outcome{}, fmt.Errorf("answered %v, which is not the quota", given)
	}, nil
}
