package elbemu_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

const groupLag = 2 * time.Second

// newLaggingGroups is an account whose calls may miss new target groups. Its clock
// stands still until the test advances it.
func newLaggingGroups(t *testing.T) (world, *clock) {
	c := newClock()
	return newWorld(t, elbemu.Config{
		Now: c.Now, Rand: rand.NewPCG(1, 2), Delays: &elbemu.Delays{TargetGroupLag: groupLag},
	}), c
}

// groupCalls are all calls that name a target group. Repeating one changes nothing, except
// that a listener is created once.
func (w world) groupCalls(lb, group string) map[string]func(context.Context) error {
	type m = map[string]func(context.Context) error
	return m{
		"RegisterTargets": func(ctx context.Context) error {
			_, err := w.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: targets("127.30.0.1", 7777)})
			return err
		},
		"DeregisterTargets": func(ctx context.Context) error {
			_, err := w.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &group, Targets: targets("127.30.0.2", 7777)})
			return err
		},
		"DescribeTargetHealth": func(ctx context.Context) error {
			_, err := w.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
			return err
		},
		"DescribeTargetGroups": func(ctx context.Context) error {
			_, err := w.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{group}})
			return err
		},
		"ModifyTargetGroup": func(ctx context.Context) error {
			_, err := w.ModifyTargetGroup(ctx, &elb.ModifyTargetGroupInput{TargetGroupArn: &group, HealthyThresholdCount: new(int32(3))})
			return err
		},
		"ModifyTargetGroupAttributes": func(ctx context.Context) error {
			_, err := w.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{
				TargetGroupArn: &group, Attributes: []types.TargetGroupAttribute{{Key: new("deregistration_delay.timeout_seconds"), Value: new("30")}},
			})
			return err
		},
		"DescribeTargetGroupAttributes": func(ctx context.Context) error {
			_, err := w.DescribeTargetGroupAttributes(ctx, &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: &group})
			return err
		},
		"AddTags": func(ctx context.Context) error {
			_, err := w.AddTags(ctx, &elb.AddTagsInput{ResourceArns: []string{group}, Tags: []types.Tag{{Key: new("a"), Value: new("b")}}})
			return err
		},
		"RemoveTags": func(ctx context.Context) error {
			_, err := w.RemoveTags(ctx, &elb.RemoveTagsInput{ResourceArns: []string{group}, TagKeys: []string{"a"}})
			return err
		},
		"DescribeTags": func(ctx context.Context) error {
			_, err := w.DescribeTags(ctx, &elb.DescribeTagsInput{ResourceArns: []string{group}})
			return err
		},
		"CreateListener": func(ctx context.Context) error {
			_, err := w.CreateListener(ctx, listenerInput(lb, group, types.ProtocolEnumUdp, 30000))
			return err
		},
	}
}

func TestEveryCallMayMissANewTargetGroupForAWhile(t *testing.T) {
	w, clock := newLaggingGroups(t)
	lb, group := w.loadBalancer("nlb"), w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	const calls = 100 // half of which may miss the group
	clock.advance(groupLag / 2)
	for name, call := range w.groupCalls(lb, group) {
		codes := map[string]int{}
		for range calls {
			codes[codeOf(t, call(t.Context()))]++
		}
		if codes[""] == 0 || codes["TargetGroupNotFound"] == 0 || len(codes) != 2 {
			t.Errorf("%s in the meantime: %v, want some found and some TargetGroupNotFound", name, codes)
		}
	}
	clock.advance(groupLag - groupLag/2)
	for name, call := range w.groupCalls(lb, group) {
		for range calls {
			wantCode(t, call(t.Context()), "")
		}
		t.Log(name, "finds the group")
	}
}

func TestLagCanBeChanged(t *testing.T) {
	delays := elbemu.Delays{TargetGroupLag: groupLag}
	w := newWorld(t, elbemu.Config{Delays: &delays, Now: newClock().Now})
	w.e.SetTargetGroupLag(0)
	group := w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	for range 20 {
		w.health(group)
	}
	if delays.TargetGroupLag != groupLag {
		t.Error("the caller's value was changed")
	}
}

func TestDeletingALaggingTargetGroupSucceedsAlthoughTheGroupStays(t *testing.T) {
	w, clock := newLaggingGroups(t)
	deleted, stayed := 0, 0
	for i := range 50 {
		group := w.targetGroup("g"+strconv.Itoa(i), types.ProtocolEnumUdp, 7777)
		if _, err := w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &group}); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(w.e.Snapshot().TargetGroups, func(g elbemu.TargetGroup) bool { return g.ARN == group }) {
			stayed++
		} else {
			deleted++
		}
	}
	if deleted == 0 || stayed == 0 {
		t.Fatalf("%d deleted, %d stayed; want some of each", deleted, stayed)
	}
	clock.advance(groupLag)
	out, err := w.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{})
	if err != nil || len(out.TargetGroups) != stayed {
		t.Fatalf("%d groups appeared later, %v; want %d", len(out.TargetGroups), err, stayed)
	}
}

func TestARepeatedCreateFindsALaggingTargetGroup(t *testing.T) {
	w, _ := newLaggingGroups(t)
	first := w.targetGroup("g", types.ProtocolEnumUdp, 7777)
	for range 20 {
		if again := w.targetGroup("g", types.ProtocolEnumUdp, 7777); again != first {
			t.Fatalf("created %s, want %s", again, first)
		}
	}
}

func TestLagIsRepeatableBySeed(t *testing.T) {
	codes := func() (all []string) {
		w, _ := newLaggingGroups(t)
		group := w.targetGroup("g", types.ProtocolEnumUdp, 7777)
		for range 40 {
			_, err := w.DescribeTargetHealth(t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
			all = append(all, codeOf(t, err))
		}
		return all
	}
	if first, second := codes(), codes(); !slices.Equal(first, second) {
		t.Errorf("the same seed gave %v and %v", first, second)
	}
}
