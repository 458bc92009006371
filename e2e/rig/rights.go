package rig

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/elb"
)

// admit gives the pool's load balancers the tags that the IAM policies require.
func (r *Rig) admit(ctx context.Context) error {
	if r.AgentPolicy == "" {
		return nil
	}
	_, err := r.ELB().AddTags(ctx, &elbv2.AddTagsInput{
		ResourceArns: r.LoadBalancerARNs, Tags: []types.Tag{{Key: aws.String(elb.TagLedger), Value: &r.Ledger}},
	})
	if err != nil {
		return fmt.Errorf("tagging the load balancers: %w", err)
	}
	return nil
}

// restrict limits a part's AWS calls to a policy of deploy/iam.
func (r *Rig) restrict(key, file string, tags map[string]string) error {
	if r.AgentPolicy == "" {
		return nil
	}
	policy, err := policies.Read(file, policies.Values{Partition: "aws", Region: region, Account: account, Ledger: r.Ledger, Namespace: r.Games})
	if err != nil {
		return err
	}
	return r.Emulator.Restrict(key, elbemu.Principal{Policy: policy, Tags: tags})
}

// restrictAgent gives a pod's agent the same session tags as EKS Pod Identity.
func (p *Pod) restrictAgent() error {
	var tags map[string]string
	if p.rig.AgentPolicy == policies.AgentPodIdentity {
		tags = policies.SessionTags(p.rig.Games, p.Name, p.UID)
	}
	return p.rig.restrict(accessKey(p.UID), p.rig.AgentPolicy, tags)
}

// AccessKey gives the agent's AWS access key.
func (p *Pod) AccessKey() string { return accessKey(p.UID) }

// AccessKey gives the replica's AWS access key.
func (a *Replica) AccessKey() string { return accessKey(a.name) }

// Check runs the allocator's check command with the replica's settings, additional
// flags, and the replica's rights. It gives the printed table and the exit code.
func (a *Replica) Check(ctx context.Context, flags ...string) (table string, code int, err error) {
	cmd := exec.CommandContext(ctx, a.rig.programs.allocator, slices.Concat([]string{"check"}, a.flags, flags)...)
	cmd.Env = awsEnvironment(a.aws, a.AccessKey())
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}
