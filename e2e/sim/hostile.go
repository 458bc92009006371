package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// plant creates a target group and a listener as a game can with the AWS credentials of its
// pod. It publishes any address of the VPC, with its own pod's tags or malformed ones.
func (w *World) plant(p *pod) {
	s := w.cloud.emulator.Snapshot()
	lb := w.file.all[w.cause.IntN(len(w.file.all))]
	port := w.file.first + w.cause.IntN(w.file.ports)
	taken := slices.ContainsFunc(s.Listeners, func(l elbemu.Listener) bool { return l.LoadBalancerARN == lb && l.Port == port })
	if !exists(s, lb) || taken || p.leaving {
		return
	}
	tags := elb.Tags{
		Ledger: ledgerID, Namespace: namespace, Pod: p.name, PodUID: p.uid,
		Lease: ledger.PortName(ledger.LoadBalancerID(lb), port), Epoch: "planted", Generation: 1,
	}
	if held, ok := pick(w.cause, w.heldBy(p), func(r ledger.Record[ledger.Port]) string { return r.Name }); ok && w.cause.IntN(2) == 0 {
		tags.Lease, tags.Epoch, tags.Generation = held.Name, held.Value.Epoch, held.Value.Generation
	}
	switch w.cause.IntN(3) {
	case 0:
		tags.Generation += 999
	case 1:
		tags.Epoch = "" // malformed
	}
	target := unknownIP
	if other, ok := pick(w.cause, w.all, func(p *pod) string { return p.uid }); ok {
		target = other.ip
	}
	w.foreigners++
	ctx, client := context.Background(), elb.New(configuration(w.cloud.emulator), nil)
	w.cloud.last = nil
	group, err := client.CreateTargetGroup(ctx, elb.TargetGroupSpec{
		Name: fmt.Sprintf("%splanted-%d", elb.TargetGroupPrefix, w.foreigners), Protocol: api.UDP, Port: 7777, VPC: "vpc-local",
		HealthCheck: elb.HealthCheck{Protocol: "TCP", Port: 9901}, Tags: tags,
	})
	if err != nil {
		w.violate(fmt.Errorf("planting a target group: %w", err))
		return
	}
	w.judge.planted[group] = true
	if err := client.RegisterTarget(ctx, group, target, 7777); err != nil {
		w.violate(fmt.Errorf("planting a target: %w", err))
	}
	listener, err := client.CreateListener(ctx, elb.ListenerSpec{LoadBalancerARN: lb, Port: port, Protocol: api.UDP, TargetGroupARN: group, Tags: tags})
	if err != nil {
		w.violate(fmt.Errorf("planting a listener: %w", err))
	}
	w.judge.planted[listener] = true
	w.judge.reached["listeners planted by games"]++
	w.trace.add("-- the game of pod %s/%s publishes %s on port %d with tags %s/%s/%d", p.name, p.uid, target, port, tags.Lease, tags.Epoch, tags.Generation)
}

// heldBy are the ports that a pod holds.
func (w *World) heldBy(p *pod) []ledger.Record[ledger.Port] {
	return w.leases.Ports.Where(func(v ledger.Port) bool { return v.PodUID == p.uid && v.State == ledger.Bound })
}

// withoutPlanted is AWS without what games planted. It breaks no promise until it has had
// its sightings; L1 counts it.
func (j *judge) withoutPlanted(s elbemu.Snapshot) elbemu.Snapshot {
	if len(j.planted) == 0 {
		return s
	}
	s.Listeners = slices.DeleteFunc(slices.Clone(s.Listeners), func(l elbemu.Listener) bool { return j.planted[l.ARN] })
	s.TargetGroups = slices.DeleteFunc(slices.Clone(s.TargetGroups), func(g elbemu.TargetGroup) bool { return j.planted[g.ARN] })
	return s
}

// hangAWS lets AWS answer no call for a while. The calls are applied later, or never.
func (w *World) hangAWS() {
	d := w.cause.span(2 * time.Minute)
	w.trace.add("-- AWS hangs for %v", d)
	w.faults.hangs = time.Now().Add(d)
}
