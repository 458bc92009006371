package lifecycle_test

import (
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
)

// The load balancer has a subnet in the first zone only.
func TestTargetInAnotherZoneIsAnEventAndKeepsThePodUnready(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		w.pod.IP = "127.30.128.7"
		p := w.start()
		w.await("started", func() bool { return p.Started() == nil })
		time.Sleep(time.Hour)
		synctest.Wait()
		if c := w.ownPod.condition(); p.Ready() == nil || c.Reason != "TargetNotInUse" || !strings.Contains(c.Message, "zone of the pod") {
			t.Errorf("ready: %v, condition %+v", p.Ready(), c)
		}
		if events := w.ownPod.all(); !slices.Equal(events, []string{"Announced", "TargetNotInUse"}) {
			t.Errorf("events are %v", events)
		}
		p.term()
		w.checkEmpty()
	})
}

// The allocator asks AWS in idle budget only, so what it says may be old. It has the agent
// ask, and no more.
func TestAllocatorsOpinionHasTargetsDescribedOnce(t *testing.T) {
	var well atomic.Bool
	well.Store(true)
	inWorld(t, unhealthyUntil(&well), func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		says := func(opinion string) {
			w.ledger.change(func() { w.ledger.claim.Ports[0].TargetHealth = opinion })
		}
		before := w.agentCalls("DescribeTargetHealth")
		says("healthy")
		time.Sleep(10 * time.Minute)
		says("unhealthy: Target.FailedHealthChecks") // which is over
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.agentCalls("DescribeTargetHealth") - before; n != 1 || p.Ready() != nil || !w.ownPod.condition().Reachable {
			t.Errorf("%d describe calls, ready: %v, condition %+v", n, p.Ready(), w.ownPod.condition())
		}
		well.Store(false)
		says("unhealthy: Target.Timeout")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if c := w.ownPod.condition(); p.Ready() == nil || c.Reason != "TargetNotHealthy" {
			t.Errorf("ready: %v, condition %+v", p.Ready(), c)
		}
		well.Store(true)
		w.awaitReady(p)
		p.term()
	})
}

func TestDeletedLoadBalancerTellsOneStory(t *testing.T) {
	inWorld(t, elbemu.Config{}, func(t *testing.T, w *world) {
		p := w.start()
		w.awaitReady(p)
		other := w.namedLoadBalancer("more-games")
		w.post(url.Values{"Action": {"DeleteLoadBalancer"}, "LoadBalancerArn": {w.lb}})
		w.ledger.change(func() {
			w.ledger.rebind = []string{"lb-30000"}
			w.ledger.moves = &api.LoadBalancer{ARN: other, Host: "more.elb.example", VPC: "vpc-local"}
		})
		w.lb = other
		w.await("another endpoint", func() bool { return w.announced() == "more.elb.example:30001" })
		w.ledger.change(func() { w.ledger.rebind = nil })
		w.awaitReady(p)
		if events := w.ownPod.recorded(); !slices.Equal(events, []string{"Announced", "LoadBalancerGone", "Announced"}) {
			t.Errorf("events are %v", events)
		}
		w.checkBound(30001)
		p.term()
		w.checkEmpty()
	})
}
