package policies_test

import (
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/shared/elb"
)

// attempt is one AWS call that a test tries.
type attempt struct {
	name string
	call func(w town, key string) error
	// refused maps a role to the action and resource that its refusal names; AWS
	// allows the call to all other roles. A name in braces stands for the ARN of that
	// name.
	refused map[string]string
}

// allRoles gives all roles the same refusal.
func allRoles(refusal string) map[string]string {
	return map[string]string{"POD": refusal, "IRSA": refusal, "JANITOR": refusal}
}

// groupWithOtherTags tries to create a target group with tags that are not this pod's.
// With IRSA, AWS does not know which pod calls.
func groupWithOtherTags(name string, changed map[string]string, irsa bool) attempt {
	a := attempt{
		name: "create a target group " + name, refused: allRoles("CreateTargetGroup " + prefix + "targetgroup/pl-new/*"),
		call: func(w town, key string) error {
			_, err := createGroup(w, key, "pl-new", mine(changed))
			return err
		},
	}
	if irsa {
		delete(a.refused, "IRSA")
	}
	return a
}

// listenerWithOtherTags tries to create a listener with such tags.
func listenerWithOtherTags(name string, changed map[string]string, irsa bool) attempt {
	a := attempt{
		name: "create a listener " + name, refused: allRoles("CreateListener {lb}"),
		call: func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["spare group"], 30100, types.ProtocolEnumUdp, mine(changed))
			if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() == "IncompatibleProtocols" {
				return nil // AWS allowed the call
			}
			return err
		},
	}
	if irsa {
		delete(a.refused, "IRSA")
	}
	return a
}

// changesOf gives every change of another party's resources.
func changesOf(whose string, irsa bool) []attempt {
	refused := func(action, what string, janitor bool) map[string]string {
		r := allRoles(action + " {" + whose + " " + what + "}")
		if irsa {
			delete(r, "IRSA")
		}
		if janitor {
			delete(r, "JANITOR")
		}
		return r
	}
	ours := whose != "another ledger's" && whose != "stranger's" && whose != "untagged"
	target := []types.TargetDescription{{Id: aws.String("127.30.0.9"), Port: aws.Int32(7777)}}
	return []attempt{
		{"register into " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).RegisterTargets(w.t.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: aws.String(w.arn[whose+" group"]), Targets: target})
			return err
		}, refused("RegisterTargets", "group", false)},
		{"deregister from " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).DeregisterTargets(w.t.Context(), &elbv2.DeregisterTargetsInput{TargetGroupArn: aws.String(w.arn[whose+" group"]), Targets: target})
			return err
		}, refused("DeregisterTargets", "group", ours)},
		{"set attributes of " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).ModifyTargetGroupAttributes(w.t.Context(), &elbv2.ModifyTargetGroupAttributesInput{
				TargetGroupArn: aws.String(w.arn[whose+" group"]), Attributes: []types.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("0")}},
			})
			return err
		}, refused("ModifyTargetGroupAttributes", "group", false)},
		{"delete " + whose + " listener", func(w town, key string) error {
			_, err := w.client(key).DeleteListener(w.t.Context(), &elbv2.DeleteListenerInput{ListenerArn: aws.String(w.arn[whose+" listener"])})
			return err
		}, refused("DeleteListener", "listener", ours)},
		{"delete " + whose + " target group", func(w town, key string) error {
			_, err := w.client(key).DeleteTargetGroup(w.t.Context(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(w.arn[whose+" group"])})
			if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() == "ResourceInUse" {
				return nil // AWS allowed the call
			}
			return err
		}, refused("DeleteTargetGroup", "group", ours || whose == "untagged")},
	}
}

func attempts() []attempt {
	all := slices.Concat(
		changesOf("victim's", true), changesOf("another namespace's", false), changesOf("another ledger's", false), changesOf("stranger's", false), changesOf("untagged", false),
	)
	for _, kind := range []func(string, map[string]string, bool) attempt{groupWithOtherTags, listenerWithOtherTags} {
		all = append(all,
			kind("as another pod, by UID", map[string]string{elb.TagPodUID: "uid-victim"}, true),
			kind("as another pod, by name", map[string]string{elb.TagPod: "victim"}, true),
			kind("of another namespace", map[string]string{elb.TagNamespace: "lobby"}, false),
			kind("of another ledger", map[string]string{elb.TagLedger: others}, false),
			kind("without a ledger", map[string]string{elb.TagLedger: ""}, false),
			kind("without a pod", map[string]string{elb.TagPod: ""}, false),
			kind("without a pod UID", map[string]string{elb.TagPodUID: ""}, false),
			kind("without a lease", map[string]string{elb.TagLease: ""}, false),
			kind("without a generation", map[string]string{elb.TagGeneration: ""}, false),
			kind("with one more tag", map[string]string{"owner": "me"}, false),
		)
	}
	named := func(action string, call func(w town, c *elbv2.Client) error, refused map[string]string) attempt {
		return attempt{action, func(w town, key string) error { return call(w, w.client(key)) }, refused}
	}
	return append(all,
		attempt{"create a target group of another name", func(w town, key string) error {
			_, err := createGroup(w, key, "web-2", mine(nil))
			return err
		}, allRoles("CreateTargetGroup " + prefix + "targetgroup/web-2/*")},
		attempt{"create a target group without tags", func(w town, key string) error {
			_, err := createGroup(w, key, "pl-new", nil)
			return err
		}, allRoles("CreateTargetGroup " + prefix + "targetgroup/pl-new/*")},
		attempt{"create a listener on a load balancer of another cluster", func(w town, key string) error {
			_, err := createListener(w, key, "lb of others", w.arn["spare group"], 30100, types.ProtocolEnumTcp, mine(nil))
			return err
		}, allRoles("CreateListener {lb of others}")},
		attempt{"create a listener on a load balancer without tags", func(w town, key string) error {
			_, err := createListener(w, key, "untagged lb", w.arn["spare group"], 30100, types.ProtocolEnumTcp, mine(nil))
			return err
		}, allRoles("CreateListener {untagged lb}")},
		attempt{"create a listener of another protocol", func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["spare group"], 30100, types.ProtocolEnumTls, mine(nil))
			if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() == "IncompatibleProtocols" {
				return nil // AWS allowed the call
			}
			return err
		}, allRoles("CreateListener {lb}")},
		named("give its own target group other tags", func(w town, c *elbv2.Client) error {
			_, err := c.AddTags(w.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{w.arn["mine group"]}, Tags: list(victims("games", ledger))})
			return err
		}, allRoles("AddTags {mine group}")),
		named("tag its own listener again", func(w town, c *elbv2.Client) error {
			_, err := c.AddTags(w.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{w.arn["mine listener"]}, Tags: list(mine(nil))})
			return err
		}, allRoles("AddTags {mine listener}")),
		named("tag a load balancer for its ledger", func(w town, c *elbv2.Client) error {
			_, err := c.AddTags(w.t.Context(), &elbv2.AddTagsInput{ResourceArns: []string{w.arn["untagged lb"]}, Tags: list(mine(nil))})
			return err
		}, allRoles("AddTags {untagged lb}")),
		named("take its own tags away", func(w town, c *elbv2.Client) error {
			_, err := c.RemoveTags(w.t.Context(), &elbv2.RemoveTagsInput{ResourceArns: []string{w.arn["mine group"]}, TagKeys: []string{elb.TagLedger}})
			return err
		}, allRoles("RemoveTags {mine group}")),
		named("have its own listener forward elsewhere", func(w town, c *elbv2.Client) error {
			_, err := c.ModifyListener(w.t.Context(), &elbv2.ModifyListenerInput{ListenerArn: aws.String(w.arn["mine listener"]), Port: aws.Int32(443)})
			return err
		}, allRoles("ModifyListener {mine listener}")),
		named("change attributes of the load balancer", func(w town, c *elbv2.Client) error {
			_, err := c.ModifyLoadBalancerAttributes(w.t.Context(), &elbv2.ModifyLoadBalancerAttributesInput{LoadBalancerArn: aws.String(w.arn["lb"]), Attributes: []types.LoadBalancerAttribute{
				{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("false")},
			}})
			return err
		}, allRoles("ModifyLoadBalancerAttributes {lb}")),
		named("delete the load balancer", func(w town, c *elbv2.Client) error {
			_, err := c.DeleteLoadBalancer(w.t.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: aws.String(w.arn["lb"])})
			return err
		}, allRoles("DeleteLoadBalancer {lb}")),
		named("list load balancers", func(w town, c *elbv2.Client) error {
			_, err := c.DescribeLoadBalancers(w.t.Context(), &elbv2.DescribeLoadBalancersInput{})
			return err
		}, map[string]string{"POD": "DescribeLoadBalancers", "IRSA": "DescribeLoadBalancers"}),
		// IAM cannot deny an agent these calls: see docs/iam.md.
		attempt{"forward its own listener to the victim's target group, on any port", func(w town, key string) error {
			_, err := createListener(w, key, "lb", w.arn["victim's group"], 30199, types.ProtocolEnumTcp, mine(nil))
			return err
		}, map[string]string{"JANITOR": "CreateListener {lb}"}},
		named("make any address of the VPC its own target", func(w town, c *elbv2.Client) error {
			_, err := c.RegisterTargets(w.t.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: aws.String(w.arn["mine group"]), Targets: []types.TargetDescription{{Id: aws.String("127.30.0.77")}}})
			return err
		}, map[string]string{"JANITOR": "RegisterTargets {mine group}"}),
	)
}
