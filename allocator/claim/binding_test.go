package claim_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/allocator/pool"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// targetGroupARN is the ARN that AWS gives the target group of a port.
func targetGroupARN(p api.ClaimedPort) string {
	return strings.SplitAfter(firstLB, "012:")[0] + "targetgroup/" + p.TargetGroupName + fmt.Sprintf("/%016x", p.ListenerPort)
}

// bind does what an agent does before it announces its ports.
func (w *world) bind(pod, ip string, names ...string) api.Claim {
	w.Helper()
	c, err := w.claim(pod, ip, names...)
	if err != nil {
		w.Fatal(err)
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		w.listen(c.PodUID, p)
		if err := errors.Join(
			w.service.TargetGroup(w.Context(), holderOf(pod), api.TargetGroupRequest{ClaimUID: c.UID, Fence: p.Fence, TargetGroupARN: p.TargetGroupARN}),
			w.service.Bound(w.Context(), holderOf(pod), api.BoundRequest{ClaimUID: c.UID, Fence: p.Fence, ListenerARN: p.ListenerARN}),
		); err != nil {
			w.Fatal(err)
		}
	}
	return c
}

// selfMade is a binding that a live pod has made without a claim.
func (w *world) selfMade(pod string, f api.Fence) api.ClaimedPort {
	w.Helper()
	_, port, ok := ledger.SplitPortName(f.Lease)
	if !ok {
		w.Fatalf("%q is no port lease", f.Lease)
	}
	h := holderOf(pod)
	w.pods[pod] = &ledger.Pod{UID: h.UID, IPs: []string{"10.0.0.1"}}
	p := api.ClaimedPort{
		Port: api.Port{Name: "game", Protocol: api.TCP, TargetPort: 7777}, ListenerPort: port, Fence: f, TargetGroupName: elb.TargetGroupName("l", f),
	}
	w.listen(h.UID, &p)
	return p
}

// listen creates the listener of a port in AWS.
func (w *world) listen(podUID string, p *api.ClaimedPort) {
	p.TargetGroupARN = targetGroupARN(*p)
	p.ListenerARN = strings.Replace(firstLB, ":loadbalancer/", ":listener/", 1) + fmt.Sprintf("/%016x", p.ListenerPort)
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	w.cloud.listeners[p.ListenerPort] = pool.Listener{ARN: p.ListenerARN, TargetGroupARNs: []string{p.TargetGroupARN}}
	w.cloud.owners[p.ListenerARN] = pool.Owner{PodUID: podUID, Fence: p.Fence}
}
