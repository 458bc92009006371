package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/shared/elb"
)

// settleTime is enough for everything to come to rest once faults have stopped:
// several claim durations, cooldowns and audits, and the longest pause of an
// agent that was told that only a person can help.
const settleTime = 8 * time.Minute

// leaderTimeout is how long nobody leads after a leader was lost.
const leaderTimeout = 15 * time.Second

// happening is something that may happen, with how often.
type happening struct {
	weight int
	run    func()
}

// chaos lets things happen at random times.
func (w *World) chaos() error {
	happenings := []happening{
		{30, w.createPod},
		{8, func() { w.onPod(w.stopPod) }},
		{10, func() { w.onPod(w.crash) }},
		{5, func() { w.onPod(w.newSandbox) }},
		{6, func() { w.onPod(func(p *pod) { w.forceDelete(p, 150*time.Second) }) }},
		{4, func() { w.onPod(func(p *pod) { w.loseNode(p, 200*time.Second) }) }},
		{4, func() { w.onPod(w.fail) }},
		{5, func() { w.onPod(w.partitionAgent) }},
		{4, func() { w.onReplica(w.restartReplica) }},
		{5, func() { w.onReplica(w.pauseReplica) }},
		{4, func() { w.onReplica(w.lead) }},
		{4, func() { w.onReplica(w.stickWatch) }},
		{4, func() { w.onReplica(w.partitionReplica) }},
		{3, w.foreignListener},
	}
	if w.config.Losses {
		happenings = append(happenings, happening{8, w.loseClaim}, happening{8, w.losePort})
	}
	total := 0
	for _, h := range happenings {
		total += h.weight
	}
	for range 3 {
		w.createPod()
	}
	for range w.config.Events {
		n := w.rand.IntN(total)
		for _, h := range happenings {
			if n -= h.weight; n < 0 {
				h.run()
				break
			}
		}
		if err := w.runFor(w.span(25*time.Second) + time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) onPod(do func(*pod)) {
	if len(w.all) > 0 {
		do(w.all[w.rand.IntN(len(w.all))])
	}
}

func (w *World) onReplica(do func(*replica)) {
	if len(w.replicas) > 0 {
		do(w.replicas[w.rand.IntN(len(w.replicas))])
	}
}

func (w *World) partitionAgent(p *pod) {
	if p.agent == nil {
		return
	}
	w.trace.add("-- agent %s is cut off", p.agent.name)
	until := time.Now().Add(w.span(150 * time.Second))
	if w.rand.IntN(2) == 0 {
		w.faults.partition(p.agent.Process, until, kindRequest)
	} else {
		w.faults.partition(p.agent.Process, until, kindAWSRead, kindAWSWrite)
	}
}

func (w *World) partitionReplica(r *replica) {
	w.trace.add("-- replica %s is cut off", r.name)
	until := time.Now().Add(w.span(90 * time.Second))
	if w.rand.IntN(2) == 0 {
		w.faults.partition(r.Process, until, kindRead, kindWrite, kindPod)
		r.stuck = until
	} else {
		w.faults.partition(r.Process, until, kindAWSRead, kindAWSWrite)
	}
}

// lead makes a replica the leader. The one before may think for a while that it
// still leads.
func (w *World) lead(r *replica) {
	w.trace.add("-- replica %s leads", r.name)
	r.leading.Store(true)
	for _, other := range w.replicas {
		if other != r && other.leading.Load() {
			w.scheduler.after(w.span(10*time.Second), func() {
				if w.leads(r) {
					other.leading.Store(false)
				}
			})
		}
	}
}

func (w *World) leads(r *replica) bool { return r.alive() && r.leading.Load() }

// elect makes some replica the leader if none is.
func (w *World) elect() {
	for _, r := range w.replicas {
		if w.leads(r) && r.resumedFrom() == nil {
			return
		}
	}
	w.onReplica(w.lead)
}

func (w *World) restartReplica(r *replica) {
	w.trace.add("-- replica %s is killed", r.name)
	w.removeReplica(r)
	w.scheduler.after(w.span(30*time.Second), func() {
		name, _, _ := strings.Cut(r.name, "#")
		w.replicas = append(w.replicas, w.startReplica(name))
	})
	w.scheduler.after(leaderTimeout, w.elect)
}

func (w *World) removeReplica(r *replica) {
	r.kill()
	w.replicas = slices.DeleteFunc(w.replicas, func(other *replica) bool { return other == r })
}

// pauseReplica stops one for up to much longer than a claim lasts.
func (w *World) pauseReplica(r *replica) {
	w.trace.add("-- replica %s pauses", r.name)
	r.pause()
	w.scheduler.after(leaderTimeout, w.elect)
	w.scheduler.after(w.span(150*time.Second), func() {
		if r.alive() {
			w.trace.add("-- replica %s goes on", r.name)
			r.resume()
			w.scheduler.after(w.span(5*time.Second), w.oneLeader)
		}
	})
}

// oneLeader ends the belief of all but one replica that it leads.
func (w *World) oneLeader() {
	w.elect()
	found := false
	for _, r := range w.replicas {
		if found {
			r.leading.Store(false)
		}
		found = found || w.leads(r) && r.resumedFrom() == nil
	}
}

func (w *World) stickWatch(r *replica) {
	w.trace.add("-- the watches of replica %s are stuck", r.name)
	r.stuck = time.Now().Add(w.span(120 * time.Second))
}

// calm ends every fault and lets everything run.
func (w *World) calm() {
	w.trace.add("-- faults stop")
	w.faults.on = false
	for _, r := range w.replicas {
		r.resume()
		r.stuck = time.Time{}
	}
	for len(w.replicas) < 2 {
		w.replicas = append(w.replicas, w.startReplica(fmt.Sprintf("alloc-%d", w.incarnations)))
	}
	w.oneLeader()
	w.scheduler.after(20*time.Second, w.oneLeader)
	w.scheduler.after(40*time.Second, w.oneLeader)
}

// loseClaim and losePort are a person who deletes a Lease.
func (w *World) loseClaim() {
	if all := w.claims.list(); len(all) > 0 {
		one := all[w.rand.IntN(len(all))]
		w.trace.add("-- somebody deletes %s", one.Name)
		w.violate(w.claims.delete(one))
	}
}

func (w *World) losePort() {
	if all := w.ports.list(); len(all) > 0 {
		one := all[w.rand.IntN(len(all))]
		w.trace.add("-- somebody deletes %s%s", one.Name, show(one.Value))
		w.violate(w.ports.delete(one))
	}
}

// makeForeign makes what belongs to others from the start: a listener outside of
// the pool's ports and a target group of another ledger.
func (w *World) makeForeign() error {
	tags := elb.Tags{Ledger: "another-cluster/portlease", Namespace: namespace, Pod: "game-0", PodUID: "u1", Lease: "l-1", Epoch: "e", Generation: 1}
	if _, err := elb.New(configuration(w.cloud.emulator)).CreateTargetGroup(context.Background(), elb.TargetGroupSpec{
		Name: elb.TargetGroupName(tags.Ledger, tags.Fence()), Protocol: "TCP", Port: 7777, VPC: "vpc-local",
		HealthCheck: elb.HealthCheck{Protocol: "TCP"}, Tags: tags,
	}); err != nil {
		return fmt.Errorf("making another ledger's target group: %w", err)
	}
	return w.listenAsForeigner(443)
}

// foreignListener takes a listener port of the pool as somebody else does, if it
// is not taken, and gives it back later.
func (w *World) foreignListener() {
	span := w.pool.Ranges[0].To - w.pool.Ranges[0].From + 1
	port := w.pool.Ranges[0].From + w.rand.IntN(span)
	for _, l := range w.cloud.emulator.Snapshot().Listeners {
		if l.LoadBalancerARN == w.pool.LoadBalancers[0] && l.Port == port {
			return
		}
	}
	w.trace.add("-- somebody else listens on port %d", port)
	if err := w.listenAsForeigner(port); err != nil {
		w.violate(err)
	}
	w.scheduler.after(w.span(200*time.Second), func() {
		w.trace.add("-- somebody else leaves port %d", port)
		for _, l := range w.judge.foreignListeners() {
			if l.Port == port && l.LoadBalancerARN == w.pool.LoadBalancers[0] {
				if _, err := w.cloud.person().DeleteListener(context.Background(), &elbv2.DeleteListenerInput{ListenerArn: &l.ARN}); err != nil {
					w.violate(err)
				}
			}
		}
		w.judge.noteForeign()
	})
}

func (w *World) listenAsForeigner(port int) error {
	ctx, client := context.Background(), w.cloud.person()
	w.foreigners++
	group, err := client.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: aws.String(fmt.Sprintf("somebody-else-%d", w.foreigners)), Protocol: types.ProtocolEnumTcp, Port: aws.Int32(443),
		VpcId: aws.String("vpc-local"), TargetType: types.TargetTypeEnumIp,
	})
	if err != nil {
		return fmt.Errorf("making somebody else's target group: %w", err)
	}
	if _, err := client.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &w.pool.LoadBalancers[0], Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumTcp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroups[0].TargetGroupArn}},
	}); err != nil {
		return fmt.Errorf("making somebody else's listener: %w", err)
	}
	w.judge.noteForeign()
	return nil
}
