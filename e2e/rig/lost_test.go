package rig_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portlease/portlease/agent/ownpod"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// TestPodsKeepPortsWhenLeasesAreDeleted deletes all Leases under 20 running pods, and
// then only those of one kind. The allocator adopts every pod with the port that it
// had, and the bindings stay.
func TestPodsKeepPortsWhenLeasesAreDeleted(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 3, LoadBalancers: 2, ListenerPorts: "30000-30014"})
	ctx := t.Context()
	var pods []*rig.Pod
	for n := range 20 {
		pods = append(pods, newPod(t, r, fmt.Sprintf("game-%d", n), "game=7777/UDP"))
	}
	had := make(map[*rig.Pod]rig.PortRecord)
	for _, p := range pods {
		must(t, p.WaitBound(ctx))
		port, err := p.PortOf(ctx)
		must(t, err)
		had[p] = port
	}
	for _, kind := range []string{"", "portlease.dev/kind=claim", "portlease.dev/kind=port"} {
		must(t, r.Admin.CoordinationV1().Leases(r.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: kind}))
		for _, p := range pods {
			must(t, rig.Eventually(ctx, p.Name+" to be taken up again after leases \""+kind+"\" were deleted", func() error {
				claim, err := p.Claim(ctx)
				if err != nil {
					return err
				}
				port, err := p.PortOf(ctx)
				if err != nil {
					return err
				}
				before := had[p].Value
				if port.Value.Epoch != before.Epoch || port.Value.Generation != before.Generation || port.Value.ListenerPort != before.ListenerPort {
					t.Fatalf("%s had %+v and has %+v", p.Name, before, port.Value)
				}
				if claim.Value.State != ledger.Granted || port.Value.State != ledger.Bound || port.Value.ListenerARN != before.ListenerARN {
					return fmt.Errorf("the claim is %+v and the port %+v", claim.Value, port.Value)
				}
				return nil
			}))
		}
		check(t, r)
		must(t, r.CheckAtRest(ctx))
	}
}

// TestUnusableLoadBalancerIsLeftOut changes load balancers behind the allocator's
// back. The allocator leaves out an unusable one, names it to admins, and goes on with
// the others. A pod that gets no port is told its place in the queue, and not which load
// balancers are left out or why.
func TestUnusableLoadBalancerIsLeftOut(t *testing.T) {
	r := start(t, rig.Config{LoadBalancers: 3, ListenerPorts: "30000"})
	ctx := t.Context()
	client := r.ELB()
	_, err := client.ModifyLoadBalancerAttributes(ctx, &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &r.LoadBalancerARNs[1],
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("false")}},
	})
	must(t, err)
	_, err = client.DeleteLoadBalancer(ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &r.LoadBalancerARNs[2]})
	must(t, err)
	// A new process describes the load balancers at once.
	must(t, r.Replicas[0].Stop(ctx), r.Replicas[0].Revive(ctx))
	reasons := []string{"", "cross-zone load balancing is off", "does not exist"}
	eachReplica(t, r, "which two load balancers are left out, and why", func(v api.PoolView) bool {
		for n, arn := range r.LoadBalancerARNs {
			lb, ok := find(v, arn)
			if !ok || (lb.LeftOut == "") != (reasons[n] == "") || !strings.Contains(lb.LeftOut, reasons[n]) {
				return false
			}
		}
		return true
	})
	p := newPod(t, r, "game-0", "game=7777/UDP")
	must(t, p.WaitBound(ctx))
	port, err := p.PortOf(ctx)
	must(t, err)
	if port.Value.LoadBalancerARN != r.LoadBalancerARNs[0] {
		t.Errorf("it got a port on %s", port.Value.LoadBalancerARN)
	}
	for _, reason := range []string{"gone", "cross_zone_off"} {
		if n, err := r.LeaderMetric(ctx, `portlease_load_balancers_left_out{pool="default",reason="`+reason+`"}`); n != 1 {
			t.Errorf("the metrics say that %v load balancers are left out as %s: %v", n, reason, err)
		}
	}
	waiting := newPod(t, r, "game-1", "game=7777/UDP")
	must(t, rig.Eventually(ctx, "the second pod to be told that the pool is exhausted", func() error {
		told, err := toldOf(ctx, r, waiting, "PoolExhausted")
		if err != nil {
			return err
		}
		for _, text := range told {
			for _, part := range []string{"1st of 1 waiting claims", "2 of its load balancers take no new claims"} {
				if !strings.Contains(text, part) {
					t.Errorf("the second pod is not told %q: %s", part, text)
				}
			}
			for _, internal := range append([]string{"arn:", "cross-zone", "does not exist"}, ids(r.LoadBalancerARNs)...) {
				if strings.Contains(text, internal) {
					t.Errorf("the second pod is told %q: %s", internal, text)
				}
			}
		}
		return nil
	}))
	// Admins still see the reasons, and that one claim waits.
	eachReplica(t, r, "one waiting claim", func(v api.PoolView) bool {
		off, _ := find(v, r.LoadBalancerARNs[1])
		return v.Waiting == 1 && strings.Contains(off.LeftOut, reasons[1])
	})
	check(t, r)
}

// toldOf gives what a pod's events and its condition of one reason say. Both must exist.
func toldOf(ctx context.Context, r *rig.Rig, p *rig.Pod, reason string) (texts []string, err error) {
	events, err := r.Admin.CoreV1().Events(r.Games).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason + ",involvedObject.uid=" + p.UID})
	if err != nil {
		return nil, err
	}
	for _, e := range events.Items {
		texts = append(texts, e.Message)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("no event %s yet", reason)
	}
	pod, err := r.Admin.CoreV1().Pods(r.Games).Get(ctx, p.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == ownpod.ConditionReachable && c.Reason == reason {
			return append(texts, c.Message), nil
		}
	}
	return nil, fmt.Errorf("no condition %s yet: %+v", reason, pod.Status.Conditions)
}

// ids gives the last parts of the ARNs of load balancers.
func ids(arns []string) (ids []string) {
	for _, arn := range arns {
		ids = append(ids, ledger.LoadBalancerID(arn))
	}
	return ids
}

// TestGracefulStop stops a pod: within the grace period of Kubernetes the agent
// itself deletes listener and target group. The janitor only confirms that.
func TestGracefulStop(t *testing.T) {
	r := start(t, rig.Config{AgentGrace: time.Minute, AuditEvery: time.Hour})
	ctx := t.Context()
	p := newPod(t, r, "game-0", "game=7777/TCP")
	must(t, p.WaitBound(ctx))
	must(t, p.Terminate(ctx))
	if err := r.CheckAtRest(ctx); err != nil {
		t.Errorf("right after the agent's end: %v", err)
	}
	must(t, rig.Eventually(ctx, "the janitor to confirm", func() error { return r.CheckEmpty(ctx) }))
	confirmations := 0
	for _, c := range r.Emulator.Calls() {
		switch {
		case c.AccessKeyID != "ALLOCATOR1":
		case c.Action == "DeleteTargetGroup":
			confirmations++
		case strings.HasPrefix(c.Action, "Delete"):
			t.Errorf("the janitor called %s although the agent had deleted everything", c.Action)
		}
	}
	if confirmations != 1 {
		t.Errorf("the janitor took %d calls to confirm what the agent had deleted", confirmations)
	}
	check(t, r)
}

// TestClaimLeaseDeletedWhileTheAgentRestarts deletes a claim lease while no agent can
// present the claim. The port leases still name their holder, and the pod keeps its
// endpoint.
func TestClaimLeaseDeletedWhileTheAgentRestarts(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{LoadBalancers: 2, ClaimDuration: 20 * time.Second})
	ctx := t.Context()
	p := newPod(t, r, "game-0", "game=7777/UDP,chat=8080/TCP")
	must(t, p.WaitBound(ctx))
	endpoint, err := p.Endpoint()
	must(t, err)
	before, err := p.Claim(ctx)
	must(t, err)
	must(t, p.Kill(ctx))
	must(t, r.DeleteLease(ctx, before.Name))
	must(t, p.Start())
	must(t, rig.Eventually(ctx, "a new claim", func() error {
		now, err := p.Claim(ctx)
		if err != nil {
			return err
		}
		if now.UID == before.UID || now.Value.State != ledger.Granted {
			return fmt.Errorf("it is %+v", now)
		}
		for i, port := range before.Value.Ports {
			if len(now.Value.Ports) != len(before.Value.Ports) || now.Value.Ports[i].Fence != port.Fence {
				t.Fatalf("it had %+v and has %+v", before.Value, now.Value)
			}
		}
		return nil
	}))
	must(t, p.WaitBound(ctx))
	if now, err := p.Endpoint(); err != nil || now != endpoint {
		t.Errorf("the endpoint was %s and is %s, %v", endpoint, now, err)
	}
	check(t, r)
	must(t, r.CheckAtRest(ctx))
}
