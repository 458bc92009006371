package elbemu_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

func TestConcurrentCreatesOnOnePortMakeOneListener(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	lb := w.loadBalancer("nlb")
	var won, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		group := w.targetGroup(fmt.Sprintf("g-%d", i), types.ProtocolEnumUdp, 7777)
		all.Go(func() {
			_, err := w.CreateListener(t.Context(), listenerInput(lb, group, types.ProtocolEnumUdp, 30000))
			switch code := codeOf(t, err); code {
			case "":
				won.Add(1)
			case "DuplicateListener":
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || refused.Load() != 19 {
		t.Fatalf("%d won, %d were refused", won.Load(), refused.Load())
	}
}

// If DeleteTargetGroup and CreateListener race, exactly one succeeds. So no listener
// forwards to a deleted target group.
func TestConcurrentDeleteAndCreateLeaveNoListenerWithoutItsGroup(t *testing.T) {
	w := newWorld(t, elbemu.Config{})
	lb := w.loadBalancer("nlb")
	for i := range 100 {
		group := w.targetGroup(fmt.Sprintf("g-%d", i), types.ProtocolEnumUdp, 7777)
		var created, deleted error
		var both sync.WaitGroup
		both.Go(func() {
			_, created = w.CreateListener(t.Context(), listenerInput(lb, group, types.ProtocolEnumUdp, int32(30000+i)))
		})
		both.Go(func() {
			_, deleted = w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &group})
		})
		both.Wait()
		switch got := codeOf(t, created) + "/" + codeOf(t, deleted); got {
		case "/ResourceInUse":
			w.deleteListener(w.e.Snapshot().Listeners[0].ARN)
		case "TargetGroupNotFound/":
		default:
			t.Fatal(got)
		}
		consistent(t, w.e.Snapshot())
	}
}

// Several concurrent callers make random calls.
func TestRandomCallsKeepTheStateConsistent(t *testing.T) {
	w := newWorld(t, elbemu.Config{DataPlane: true})
	lbs := []string{w.loadBalancer("nlb-1"), w.loadBalancer("nlb-2")}
	var all sync.WaitGroup
	for caller := range 4 {
		all.Go(func() {
			dice := rand.New(rand.NewPCG(1, uint64(caller)))
			for range 150 {
				s := w.e.Snapshot()
				name := fmt.Sprintf("g-%d", dice.IntN(8))
				var err error
				switch roll := dice.IntN(8); {
				case roll < 2:
					_, err = w.CreateTargetGroup(t.Context(), groupInput(name, types.ProtocolEnumTcp, 80))
				case len(s.TargetGroups) == 0:
				case roll < 4:
					group := s.TargetGroups[dice.IntN(len(s.TargetGroups))].ARN
					_, err = w.CreateListener(t.Context(), listenerInput(lbs[dice.IntN(2)], group, types.ProtocolEnumTcp, int32(30000+dice.IntN(6))))
				case roll == 4:
					_, err = w.DeleteTargetGroup(t.Context(), &elb.DeleteTargetGroupInput{TargetGroupArn: &s.TargetGroups[dice.IntN(len(s.TargetGroups))].ARN})
				case roll == 5:
					_, err = w.RegisterTargets(t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &s.TargetGroups[dice.IntN(len(s.TargetGroups))].ARN, Targets: targets("127.30.0.9", 80)})
				case len(s.Listeners) == 0:
				case roll == 6:
					_, err = w.DeleteListener(t.Context(), &elb.DeleteListenerInput{ListenerArn: &s.Listeners[dice.IntN(len(s.Listeners))].ARN})
				default:
					_, err = w.ModifyListener(t.Context(), &elb.ModifyListenerInput{
						ListenerArn: &s.Listeners[dice.IntN(len(s.Listeners))].ARN, Port: new(int32(30000 + dice.IntN(6))),
						DefaultActions: forwardTo(s.TargetGroups[dice.IntN(len(s.TargetGroups))].ARN),
					})
				}
				if err != nil && statusOf(err) != 400 {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	final := w.e.Snapshot()
	consistent(t, final)
	for _, l := range final.Listeners {
		if l.Fault != "" {
			t.Errorf("listener on port %d is not served: %s", l.Port, l.Fault)
		}
	}
}
