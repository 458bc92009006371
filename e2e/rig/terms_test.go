package rig_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// TestPoolsGrantUnderTheirOwnTerms claims from pools that differ. Each pool grants
// under its own terms only. A refusal names the remedy.
func TestPoolsGrantUnderTheirOwnTerms(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{LoadBalancers: 3, ListenerPorts: "30000-30009"})
	ctx := t.Context()
	arns := r.LoadBalancerARNs
	more := fmt.Sprintf(`- name: elsewhere
  loadBalancers: [%[1]s]
  listenerPorts: [31000-31009]
  namespaces: [another]
- name: tcp
  loadBalancers: [%[1]s, %[2]s]
  listenerPorts: [32000-32009]
  protocols: [TCP]
  placement: pack
  healthCheck: {interval: 30s, timeout: 7s, healthyThreshold: 3, unhealthyThreshold: 4}
  targetGroupAttributes: {deregistration_delay.timeout_seconds: "17"}
- name: tagged
  loadBalancerTags: {portlease: yes, team: games}
  listenerPorts: [33000-33009]
`, arns[0], arns[1])
	_, err := r.ELB().AddTags(ctx, &elbv2.AddTagsInput{ResourceArns: []string{arns[2]}, Tags: []types.Tag{tag("portlease", "true"), tag("team", "games")}})
	must(t, err)
	_, err = r.ELB().AddTags(ctx, &elbv2.AddTagsInput{ResourceArns: []string{arns[1]}, Tags: []types.Tag{tag("team", "games")}})
	must(t, err)
	must(t, r.SetPools(r.PoolText(arns, strings.ReplaceAll(more, "yes", `"true"`))))
	p, err := r.NewPod(ctx, "game-0", "game=7777/TCP")
	must(t, err)
	token, err := r.Token(ctx, p.Name)
	must(t, err)
	ask := func(pool, protocol string) (api.Claim, api.Problem, int) {
		return put(t, p, r.Replicas[0], token, strings.ReplaceAll(
			request(p, fmt.Sprintf(`[{"name":"game","targetPort":7777,"protocol":%q}]`, protocol)), `"default"`, fmt.Sprintf("%q", pool)))
	}
	must(t, rig.Eventually(ctx, "the new pools to be in force", func() error {
		if _, problem, _ := ask("nonsense", "TCP"); !strings.Contains(problem.Detail, "tagged") {
			return fmt.Errorf("it says %q", problem.Detail)
		}
		return nil
	}))
	for _, refused := range []struct {
		pool, protocol string
		code           api.Code
		want           string
	}{
		{"nonsense", "TCP", api.Invalid, `pool "nonsense" does not exist; the pools are: default, elsewhere, tcp, tagged`},
		{"elsewhere", "TCP", api.Forbidden, "add the namespace to the pool"},
		{"tcp", "UDP", api.Invalid, "its protocols are TCP"},
		{"tcp", "TCP_UDP", api.Invalid, "its protocols are TCP"},
	} {
		_, problem, status := ask(refused.pool, refused.protocol)
		if problem.Code != refused.code || status != refused.code.Status() || !strings.Contains(problem.Detail, refused.want) {
			t.Errorf("%s/%s: %d %+v", refused.pool, refused.protocol, status, problem)
		}
	}
	if _, err := p.Claim(ctx); err == nil {
		t.Error("what was refused left a claim")
	}

	pods := map[string]*rig.Pod{"tcp": p}
	var granted api.Claim
	must(t, rig.Eventually(ctx, "a port of pool tcp", func() error {
		c, problem, _ := ask("tcp", "TCP")
		if granted = c; len(c.Ports) != 1 {
			return &problem
		}
		return nil
	}))
	port := granted.Ports[0]
	want := api.HealthCheck{Protocol: "TCP", IntervalSeconds: 30, TimeoutSeconds: 7, HealthyThreshold: 3, UnhealthyThreshold: 4}
	if port.ListenerPort < 32000 || port.ListenerPort > 32009 || port.HealthCheck != want || port.Attributes["deregistration_delay.timeout_seconds"] != "17" {
		t.Errorf("pool tcp granted %+v", port)
	}
	for n := range 3 { // placement "pack": all ports on the load balancer of the first
		p, err := r.NewPod(ctx, fmt.Sprintf("packed-%d", n), "game=7777/TCP")
		must(t, err)
		token, err := r.Token(ctx, p.Name)
		must(t, err)
		c, problem, _ := put(t, p, r.Replicas[0], token, strings.ReplaceAll(request(p, `[{"name":"game","targetPort":7777,"protocol":"TCP"}]`), `"default"`, `"tcp"`))
		if c.LoadBalancer.ARN != granted.LoadBalancer.ARN {
			t.Errorf("%s got %+v, %+v", p.Name, c, problem)
		}
		pods[p.Name] = p
	}
	tagged, err := r.NewPod(ctx, "tagged-0", "game=7777/TCP")
	must(t, err)
	token, err = r.Token(ctx, tagged.Name)
	must(t, err)
	must(t, rig.Eventually(ctx, "a port where the tags are", func() error {
		c, problem, _ := put(t, tagged, r.Replicas[0], token, strings.ReplaceAll(request(tagged, `[{"name":"game","targetPort":7777,"protocol":"TCP"}]`), `"default"`, `"tagged"`))
		if len(c.Ports) != 1 {
			return &problem
		}
		if c.LoadBalancer.ARN != arns[2] || c.Ports[0].ListenerPort < 33000 {
			t.Fatalf("pool tagged granted %+v", c)
		}
		return nil
	}))
	check(t, r)
}

func tag(key, value string) types.Tag { return types.Tag{Key: &key, Value: &value} }

// TestOldestWaitingClaimIsGrantedFirst has three pods wait for one port. The oldest
// claim gets the freed port, no matter which pod asks first.
func TestOldestWaitingClaimIsGrantedFirst(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 2, ListenerPorts: "30000"})
	ctx := t.Context()
	holder := newPod(t, r, "holder", "game=7777/UDP")
	must(t, holder.WaitBound(ctx))
	type waiter struct {
		*rig.Pod
		token string
	}
	var queue []waiter
	ask := func(w waiter, n int) (api.Claim, api.Problem) {
		c, problem, _ := put(t, w.Pod, r.Replicas[n%2], w.token, request(w.Pod, onePort))
		return c, problem
	}
	for n := range 3 {
		p, err := r.NewPod(ctx, fmt.Sprintf("game-%d", n), "game=7777/UDP")
		must(t, err)
		token, err := r.Token(ctx, p.Name)
		must(t, err)
		w := waiter{p, token}
		if c, problem := ask(w, n); problem.Code != api.Exhausted || problem.Detail == "" {
			t.Fatalf("%s got %+v, %+v", p.Name, c, problem)
		}
		queue = append(queue, w)
		// Creation times of Leases have a resolution of one second.
		begun := time.Now().Unix()
		must(t, rig.Eventually(ctx, "the next second", func() error {
			if time.Now().Unix() <= begun+1 {
				return errors.New("not yet")
			}
			return nil
		}))
	}
	must(t, holder.Terminate(ctx))
	for len(queue) > 0 {
		granted := -1
		must(t, rig.Eventually(ctx, "the port to be granted", func() error {
			for i, w := range slices.Backward(queue) { // the youngest asks first
				c, problem := ask(w, i)
				switch {
				case len(c.Ports) == 1:
					granted = i
					return nil
				case problem.Code != api.Exhausted && problem.Code != api.Pending:
					t.Fatalf("%s got %+v", w.Name, problem)
				}
			}
			return errors.New("everybody waits")
		}))
		if granted != 0 {
			t.Fatalf("%s got it before %s", queue[granted].Name, queue[0].Name)
		}
		must(t, queue[0].Crash(ctx))
		queue = queue[1:]
	}
	check(t, r)
}

// TestRecreatedPodGetsItsPortBack recreates a pod under the same name, as a
// StatefulSet does. The new pod gets the same port at once and without cooldown. A
// pod of another name gets another port.
func TestRecreatedPodGetsItsPortBack(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{Replicas: 2, ListenerPorts: "30000-30029", Cooldown: time.Minute})
	ctx := t.Context()
	first := newPod(t, r, "game-0", "game=7777/UDP")
	must(t, first.WaitBound(ctx))
	had, err := first.PortOf(ctx)
	must(t, err)
	must(t, first.Terminate(ctx))
	other := newPod(t, r, "game-1", "game=7777/UDP")
	must(t, other.WaitBound(ctx))
	if port, err := other.PortOf(ctx); err != nil || port.Name == had.Name {
		t.Errorf("another pod got %+v, %v", port, err)
	}
	again := newPod(t, r, "game-0", "game=7777/UDP")
	must(t, again.WaitBound(ctx))
	if port, err := again.PortOf(ctx); err != nil || port.Name != had.Name || port.Value.Generation != had.Value.Generation+1 {
		t.Errorf("it came back to %+v, %v; it had %+v", port, err, had)
	}
	check(t, r)
}

// TestPodMovesOffUnusableLoadBalancer fills or deletes a load balancer behind the
// allocator's back. The agent reports that its port cannot be bound, the allocator
// confirms that by its own reads, and the pod gets a port on another load balancer.
func TestPodMovesOffUnusableLoadBalancer(t *testing.T) {
	t.Parallel()
	for name, breakLoadBalancer := range map[string]func(r *rig.Rig) error{
		"full": func(r *rig.Rig) error {
			return errors.Join(r.ForeignListener(t.Context(), 1000), r.ForeignListener(t.Context(), 1001))
		},
		"gone": func(r *rig.Rig) error {
			_, err := r.ELB().DeleteLoadBalancer(t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &r.LoadBalancerARNs[0]})
			r.ForgetForeign()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, rig.Config{
				LoadBalancers: 2, AuditEvery: time.Hour,
				Emulator: func(c *elbemu.Config) { c.Quotas.Listeners = 3 },
			})
			ctx := t.Context()
			// With placement "pack", the pod goes to the load balancer that has the
			// foreign listener.
			must(t, r.SetPools(r.PoolText(r.LoadBalancerARNs, "  placement: pack\n")))
			eachReplica(t, r, "it packed", func(v api.PoolView) bool { return v.Placement == "pack" && v.LoadBalancers[0].LeftOut == "" })
			p, err := r.NewPod(ctx, "game-0", "game=7777/UDP,chat=8080/TCP")
			must(t, err)
			token, err := r.Token(ctx, p.Name)
			must(t, err)
			c, problem, _ := put(t, p, r.Replicas[0], token, request(p, `[{"name":"game","targetPort":7777,"protocol":"UDP"},{"name":"chat","targetPort":8080,"protocol":"TCP"}]`))
			if c.LoadBalancer.ARN != r.LoadBalancerARNs[0] {
				t.Fatalf("it was granted %+v, %+v", c, problem)
			}
			must(t, breakLoadBalancer(r))
			must(t, p.Start())
			must(t, p.WaitBound(ctx))
			claim, err := p.Claim(ctx)
			must(t, err)
			if claim.Value.LoadBalancer.ARN != r.LoadBalancerARNs[1] || len(claim.Value.Ports) != 2 {
				t.Errorf("it has %+v", claim.Value)
			}
			check(t, r)
		})
	}
}
