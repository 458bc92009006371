package rig_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
)

// TestDamagedBindingIsRepaired breaks a live pod's binding, as an admin might: the
// agent repairs it on the same port and in the same generation. A stray target is
// deregistered by the janitor, and nothing else changes.
func TestDamagedBindingIsRepaired(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{AuditEvery: 300 * time.Millisecond, ListenerPorts: "30000-30019"})
	ctx := t.Context()
	stray, err := r.NewAddress()
	must(t, err)
	elsewhere, err := r.ELB().CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: aws.String("a-persons"), Protocol: types.ProtocolEnumUdp, Port: aws.Int32(7777), VpcId: aws.String("vpc-rig"), TargetType: types.TargetTypeEnumIp,
	})
	must(t, err)
	theirs := aws.ToString(elsewhere.TargetGroups[0].TargetGroupArn)
	r.ForgetForeign()

	damages := map[string]func(ctx context.Context, listener, group, ip string) error{
		"listener-deleted": func(ctx context.Context, listener, _, _ string) error {
			_, err := r.ELB().DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: aws.String(listener)})
			return err
		},
		"listener-redirected": func(ctx context.Context, listener, _, _ string) error {
			return redirect(ctx, r, listener, theirs)
		},
		"listener-moved": func(ctx context.Context, listener, _, _ string) error {
			_, err := r.ELB().ModifyListener(ctx, &elbv2.ModifyListenerInput{ListenerArn: aws.String(listener), Port: aws.Int32(31999)})
			return err
		},
		"all-deleted": func(ctx context.Context, listener, group, _ string) error {
			if _, err := r.ELB().DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: aws.String(listener)}); err != nil {
				return err
			}
			_, err := r.ELB().DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(group)})
			return err
		},
		"redirected-and-group-deleted": func(ctx context.Context, listener, group, _ string) error {
			if err := redirect(ctx, r, listener, theirs); err != nil {
				return err
			}
			_, err := r.ELB().DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(group)})
			return err
		},
		"deregistered": func(ctx context.Context, _, group, ip string) error {
			_, err := r.ELB().DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{
				TargetGroupArn: aws.String(group), Targets: []types.TargetDescription{{Id: aws.String(ip), Port: aws.Int32(7777)}},
			})
			return err
		},
		"stray-target": func(ctx context.Context, _, group, _ string) error {
			_, err := r.ELB().RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
				TargetGroupArn: aws.String(group), Targets: []types.TargetDescription{{Id: aws.String(stray), Port: aws.Int32(7777)}},
			})
			return err
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, r, name, "game=7777/UDP")
			must(t, p.WaitBound(ctx))
			bound, err := p.PortOf(ctx)
			must(t, err)
			before := bound.Value
			own := targetOf(r, before, p.IP)
			must(t, damage(ctx, before.ListenerARN, before.TargetGroupARN, p.IP))
			must(t, rig.Eventually(ctx, "the binding to be repaired", func() error {
				record, err := p.PortOf(ctx)
				if err != nil {
					return err
				}
				now := record.Value
				if now.ListenerPort != before.ListenerPort || now.Generation != before.Generation {
					t.Fatalf("port %d generation %d became port %d generation %d", before.ListenerPort, before.Generation, now.ListenerPort, now.Generation)
				}
				if now.State != ledger.Bound && name == "stray-target" {
					t.Fatalf("the port became %s although only its targets were changed", now.State)
				}
				if now.State != ledger.Bound {
					return fmt.Errorf("it is %s", now.State)
				}
				return whole(r, now, p.IP)
			}))
			check(t, r)
			if name == "stray-target" {
				must(t, waitForEvent(r, p, "TargetsDeregistered"))
				onlyTheStrayWent(t, r, p, before, own, stray)
			} else {
				must(t, waitForEvent(r, p, "BindingDamaged"))
			}
			must(t, p.Terminate(ctx))
		})
	}
	_, err = r.ELB().DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(theirs)})
	must(t, err)
	r.ForgetForeign()
}

// onlyTheStrayWent checks that the janitor deregistered the stray target in time, once,
// and that the binding and the pod's own target are as they were.
func onlyTheStrayWent(t *testing.T, r *rig.Rig, p *rig.Pod, before ledger.Port, own, stray string) {
	t.Helper()
	ctx := t.Context()
	must(t, contains(ctx, r.Replicas[0], `portlease_janitor_actions_total{action="deregister",reason="target is not the pod"} 1`))
	now, err := p.PortOf(ctx)
	must(t, err)
	if now.Value.State != ledger.Bound || now.Value.ListenerARN != before.ListenerARN || now.Value.TargetGroupARN != before.TargetGroupARN {
		t.Errorf("the port was %+v and is %+v", before, now.Value)
	}
	if still := targetOf(r, before, p.IP); own == "" || still != own {
		t.Errorf("the pod's own target was %q and is %q", own, still)
	}
	i := slices.IndexFunc(groupOf(r, before).Targets, func(t elbemu.Target) bool { return t.ID == stray })
	if i < 0 {
		t.Fatal("the stray target does not drain")
	}
	left := groupOf(r, before).Targets[i]
	// One pod is bound, so the first audit after the damage sees it, and the second acts.
	audits := 0
	for _, c := range r.Emulator.Calls() {
		if c.Action == "DescribeTargetGroups" && c.AccessKeyID == r.Replicas[0].AccessKey() && c.At.After(left.RegisteredAt) && c.At.Before(left.DeregisteredAt) {
			audits++
		}
	}
	if left.DeregisteredAt.IsZero() || audits == 0 || audits > 2 {
		t.Errorf("the stray target was deregistered at %v, in audit %d after the damage", left.DeregisteredAt, audits)
	}
}

// groupOf gives the port's target group.
func groupOf(r *rig.Rig, p ledger.Port) elbemu.TargetGroup {
	groups := r.Emulator.Snapshot().TargetGroups
	if i := slices.IndexFunc(groups, func(g elbemu.TargetGroup) bool { return g.ARN == p.TargetGroupARN }); i >= 0 {
		return groups[i]
	}
	return elbemu.TargetGroup{}
}

// targetOf says since when the IP has been a target of the port; empty if it is none.
func targetOf(r *rig.Rig, p ledger.Port, ip string) string {
	for _, t := range groupOf(r, p).Targets {
		if t.ID == ip && t.DeregisteredAt.IsZero() {
			return fmt.Sprintf("%s:%d since %s", t.ID, t.Port, t.RegisteredAt.Format(time.RFC3339Nano))
		}
	}
	return ""
}

// redirect changes a listener to forward to another target group.
func redirect(ctx context.Context, r *rig.Rig, listener, group string) error {
	_, err := r.ELB().ModifyListener(ctx, &elbv2.ModifyListenerInput{
		ListenerArn: aws.String(listener), DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: aws.String(group)}},
	})
	return err
}

// TestDamageOutlivesTheAgent kills an agent before it hears of the damage: the next
// agent repairs the binding. If the pod is gone, the janitor deletes the listener,
// wherever it forwards to by then.
func TestDamageOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{AuditEvery: 300 * time.Millisecond})
	ctx := t.Context()
	elsewhere, err := r.ELB().CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: aws.String("a-persons"), Protocol: types.ProtocolEnumUdp, Port: aws.Int32(7777), VpcId: aws.String("vpc-rig"), TargetType: types.TargetTypeEnumIp,
	})
	must(t, err)
	theirs := aws.ToString(elsewhere.TargetGroups[0].TargetGroupArn)
	r.ForgetForeign()
	damaged := func(name string) (*rig.Pod, rig.PortRecord) {
		p := newPod(t, r, name, "game=7777/UDP")
		must(t, p.WaitBound(ctx))
		before, err := p.PortOf(ctx)
		must(t, err)
		must(t, p.Kill(ctx))
		must(t, redirect(ctx, r, before.Value.ListenerARN, theirs))
		must(t, rig.Eventually(ctx, "the janitor to see the damage", func() error {
			now, err := p.PortOf(ctx)
			if err == nil && now.Value.State != ledger.Claimed {
				err = fmt.Errorf("port %s is %s", now.Name, now.Value.State)
			}
			return err
		}))
		return p, before
	}

	p, before := damaged("restarted")
	must(t, p.Start())
	must(t, rig.Eventually(ctx, "the next agent to repair the binding", func() error {
		now, err := p.PortOf(ctx)
		if err != nil || now.Value.State != ledger.Bound || now.Value.Generation != before.Value.Generation {
			return fmt.Errorf("port %s is %s: %w", now.Name, now.Value.State, err)
		}
		return whole(r, now.Value, p.IP)
	}))
	must(t, p.Terminate(ctx))

	p, _ = damaged("gone")
	must(t, p.Remove(ctx))
	must(t, rig.Eventually(ctx, "the janitor to delete what is left", func() error { return r.CheckGone(ctx, p) }))
	_, err = r.ELB().DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(theirs)})
	must(t, err)
	r.ForgetForeign()
}

// whole returns nil if the port's listener forwards only to its target group, and the
// target group only to the IP.
func whole(r *rig.Rig, p ledger.Port, ip string) error {
	s := r.Emulator.Snapshot()
	listens := func(l elbemu.Listener) bool {
		return l.ARN == p.ListenerARN && l.Port == p.ListenerPort && len(l.Forwards) == 1 && l.Forwards[0].TargetGroupARN == p.TargetGroupARN
	}
	if !slices.ContainsFunc(s.Listeners, listens) {
		return errors.New("its listener is not as it was")
	}
	i := slices.IndexFunc(s.TargetGroups, func(g elbemu.TargetGroup) bool { return g.ARN == p.TargetGroupARN })
	if i < 0 {
		return errors.New("it has no target group")
	}
	targets := 0
	for _, t := range s.TargetGroups[i].Targets {
		if t.State == "draining" {
			continue
		}
		if targets++; t.ID != ip {
			return fmt.Errorf("%s is a target", t.ID)
		}
	}
	if targets == 0 {
		return errors.New("it is no target")
	}
	return nil
}
