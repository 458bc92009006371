package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// unknownIP is an address that no pod has.
const unknownIP = "127.30.0.99"

// ourListener is a listener of this ledger.
func (w *World) ourListener() (elbemu.Listener, bool) {
	all := slices.DeleteFunc(w.cloud.emulator.Snapshot().Listeners, func(l elbemu.Listener) bool { return l.Tags[elb.TagLedger] != ledgerID })
	return pick(w.cause, all, func(l elbemu.Listener) string { return fmt.Sprint(l.LoadBalancerARN, l.Port) })
}

func (w *World) ourTargetGroup() (elbemu.TargetGroup, bool) {
	all := slices.DeleteFunc(w.cloud.emulator.Snapshot().TargetGroups, func(g elbemu.TargetGroup) bool { return g.Tags[elb.TagLedger] != ledgerID })
	return pick(w.cause, all, func(g elbemu.TargetGroup) string { return g.Name })
}

// exists reports whether a load balancer exists.
func exists(s elbemu.Snapshot, arn string) bool {
	return slices.ContainsFunc(s.LoadBalancers, func(lb elbemu.LoadBalancer) bool { return lb.ARN == arn })
}

// deleteListener and the functions below change AWS as an operator may by mistake.
func (w *World) deleteListener() {
	if l, ok := w.ourListener(); ok {
		w.removeListener(l)
	}
}

func (w *World) removeListener(l elbemu.Listener) {
	w.trace.add("-- somebody deletes the listener on port %d", l.Port)
	_, err := w.cloud.operator().DeleteListener(context.Background(), &elbv2.DeleteListenerInput{ListenerArn: &l.ARN})
	w.violate(err)
}

// deleteTargetGroup deletes its listeners first, and waits as AWS requires.
func (w *World) deleteTargetGroup() {
	g, ok := w.ourTargetGroup()
	if !ok {
		return
	}
	for _, l := range w.cloud.emulator.Snapshot().Listeners {
		if len(l.Forwards) == 1 && l.Forwards[0].TargetGroupARN == g.ARN && l.Tags[elb.TagLedger] == ledgerID {
			w.removeListener(l)
		}
	}
	w.after(w.cloud.inUse, func() {
		_, err := w.cloud.operator().DeleteTargetGroup(context.Background(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: &g.ARN})
		w.trace.add("-- somebody deletes target group %s: %v", g.Name, err)
		if refused, ok := errors.AsType[smithy.APIError](err); ok && (refused.ErrorCode() == "ResourceInUse" || refused.ErrorCode() == "TargetGroupNotFound") {
			return // already deleted, or in use again
		}
		w.violate(err)
	})
}

// deleteLoadBalancer deletes a load balancer with its listeners. In half of the cases
// a new one replaces it in the pool.
func (w *World) deleteLoadBalancer() {
	at := w.cause.IntN(len(w.file.all))
	old, again := w.file.all[at], w.cause.IntN(2) == 0
	if !exists(w.cloud.emulator.Snapshot(), old) {
		return
	}
	w.trace.add("-- somebody deletes load balancer %s", old)
	if _, err := w.cloud.operator().DeleteLoadBalancer(context.Background(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &old}); err != nil {
		w.violate(err)
		return
	}
	w.judge.noteForeign()
	if !again {
		return
	}
	w.after(w.cause.span(time.Minute), func() {
		arn, err := w.cloud.makeLoadBalancer(context.Background(), fmt.Sprintf("games-%d", at+1))
		w.violate(err)
		w.file.all[at] = arn
		w.file.removed[arn] = w.file.removed[old]
		w.changePool()
	})
}

// redirectListener makes a listener forward to another target group.
func (w *World) redirectListener() {
	l, listens := w.ourListener()
	g, ok := w.ourTargetGroup()
	if !listens || !ok {
		return
	}
	_, err := w.cloud.operator().ModifyListener(context.Background(), &elbv2.ModifyListenerInput{
		ListenerArn: &l.ARN, DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &g.ARN}},
	})
	w.trace.add("-- somebody has the listener on port %d forward to %s: %v", l.Port, g.Name, err)
}

// changeTargets deregisters a target or registers an unknown one.
func (w *World) changeTargets() {
	g, ok := w.ourTargetGroup()
	if !ok {
		return
	}
	target := []types.TargetDescription{{Id: aws.String(unknownIP)}}
	if w.cause.IntN(2) == 0 || len(g.Targets) == 0 {
		_, err := w.cloud.operator().RegisterTargets(context.Background(), &elbv2.RegisterTargetsInput{TargetGroupArn: &g.ARN, Targets: target})
		w.trace.add("-- somebody registers %s in %s: %v", unknownIP, g.Name, err)
		return
	}
	target[0].Id, target[0].Port = &g.Targets[0].ID, aws.Int32(int32(g.Targets[0].Port))
	_, err := w.cloud.operator().DeregisterTargets(context.Background(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &g.ARN, Targets: target})
	w.trace.add("-- somebody deregisters %s from %s: %v", g.Targets[0].ID, g.Name, err)
}
