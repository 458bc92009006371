package rig_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/elbemu/iam"
	"github.com/portlease/portlease/e2e/rig"
)

// TestPolicies runs whole lives under the policy files of deploy/iam, for every
// variant of how AWS might evaluate them that is not verified. AWS denies nothing,
// and no permission is unused.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, agents := range []string{policies.AgentPodIdentity, policies.AgentIRSA} {
		t.Run(agents, func(t *testing.T) {
			used := map[string]map[iam.Use]bool{agents: {}, policies.Janitor: {}}
			for name, switches := range map[string]elbemu.Switches{
				"as documented":             {},
				"on the listener, too":      {CreateListenerOnListener: true},
				"tags on the load balancer": {TagsListenerOnLoadBalancer: true},
				"what is missing is denied": {MissingDenied: true, MissingTargetGroupFails: true},
			} {
				t.Run(name, func(t *testing.T) { livesUnderPolicies(t, agents, switches, used) })
			}
			for file, uses := range used {
				text, err := policies.Read(file, policies.Values{Partition: "aws", Region: "r", Account: "000000000000", Ledger: "l", Namespace: "n"})
				must(t, err)
				p, err := iam.Parse(text)
				must(t, err)
				for _, one := range p.Uses() {
					if !uses[one] {
						t.Errorf("%s allows %s in %s, and no part needs it", file, one.Action, one.Sid)
					}
				}
			}
		})
	}
}

func livesUnderPolicies(t *testing.T, agents string, switches elbemu.Switches, used map[string]map[iam.Use]bool) {
	r := start(t, rig.Config{
		AgentPolicy: agents, AuditEvery: 300 * time.Millisecond, Emulator: func(c *elbemu.Config) { c.Switches = switches },
		Pool: "  targetGroupAttributes: {deregistration_delay.timeout_seconds: \"30\"}\n", AgentSettings: []string{"PORTLEASE_DEREGISTER=1s"},
	})
	ctx := t.Context()
	p := newPod(t, r, "lives", "game=7777/UDP,chat=7778/TCP,both=7779/TCP_UDP")
	must(t, p.WaitBound(ctx))

	must(t, p.Kill(ctx), p.Start(), p.WaitBound(ctx))
	to, err := r.NewAddress()
	must(t, err)
	must(t, p.Move(ctx, to), p.Start(), p.WaitBound(ctx))
	targetsOnlyOf(t, r, p)

	for _, deleted := range []string{"its listener", "all of it"} {
		ports, err := p.PortsOf(ctx)
		must(t, err)
		before := ports[0]
		must(t, deleteListener(ctx, r, before.Value.ListenerARN))
		if deleted == "all of it" {
			_, err := r.ELB().DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &before.Value.TargetGroupARN})
			must(t, err)
		}
		must(t, rig.Eventually(ctx, "the port to be bound again after "+deleted+" was deleted", func() error {
			ports, err := p.PortsOf(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(ports, func(r rig.PortRecord) bool { return r.Name == before.Name })
			if i < 0 || ports[i].Value.State != ledger.Bound || ports[i].Value.ListenerARN == before.Value.ListenerARN {
				return fmt.Errorf("it is not: %+v", ports)
			}
			return whole(r, ports[i].Value, p.IP)
		}))
	}
	check(t, r)

	crashed := newPod(t, r, "crashed", "game=7777/UDP")
	must(t, crashed.WaitBound(ctx))
	must(t, crashed.Crash(ctx), p.Terminate(ctx))
	must(t, rig.Eventually(ctx, "every port to be released", func() error { return r.CheckEmpty(ctx) }))
	check(t, r)

	keep := func(file, key string) {
		for use := range maps.Keys(r.Emulator.Used(key)) {
			used[file][use] = true
		}
	}
	keep(agents, p.AccessKey())
	keep(agents, crashed.AccessKey())
	keep(policies.Janitor, r.Replicas[0].AccessKey())
	for _, c := range r.Emulator.Calls() {
		if c.Outcome.Code == "AccessDenied" && !switches.MissingDenied {
			t.Errorf("refused: %s", c.Outcome.Message)
		}
	}
}

// TestCheckExitCodeSaysWhetherItCouldRun runs the check command where the allocator
// could run, and where it could not.
func TestCheckExitCodeSaysWhetherItCouldRun(t *testing.T) {
	t.Parallel()
	r := start(t, rig.Config{AgentPolicy: policies.AgentPodIdentity})
	table, code, err := r.Replicas[0].Check(t.Context())
	must(t, err)
	if code != 0 || !strings.Contains(table, r.Ledger) || strings.Contains(table, "error") {
		t.Errorf("exit code %d:\n%s", code, table)
	}
	table, code, err = r.Replicas[0].Check(t.Context(), "-tls-cert=", "-tls-key=", "-tls-ca=", "-tls-secret=portlease-tls")
	must(t, err)
	if code != 0 || !strings.Contains(table, "the first start creates secret portlease-tls") {
		t.Errorf("with certificates of its own, exit code %d:\n%s", code, table)
	}
	must(t, r.SetPools("pools: []\n"))
	if table, code, err = r.Replicas[0].Check(t.Context()); code != 1 || err != nil || !strings.Contains(table, "no pools") {
		t.Errorf("exit code %d, %v:\n%s", code, err, table)
	}
	must(t, r.SetPools(r.PoolText(r.LoadBalancerARNs, r.Pool)))
}

func deleteListener(ctx context.Context, r *rig.Rig, arn string) error {
	_, err := r.ELB().DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: aws.String(arn)})
	return err
}

// targetsOnlyOf is targetsOnly for a pod with several ports.
func targetsOnlyOf(t *testing.T, r *rig.Rig, p *rig.Pod) {
	t.Helper()
	ports, err := p.PortsOf(t.Context())
	must(t, err)
	errs := []error{}
	for _, port := range ports {
		errs = append(errs, whole(r, port.Value, p.IP))
	}
	must(t, errors.Join(errs...))
}
