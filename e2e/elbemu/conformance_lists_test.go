package elbemu_test

import (
	"fmt"
	"strings"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func (s *stage) tag(arn string, pairs ...string) error {
	var tags []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	_, err := s.AddTags(s.t.Context(), &elb.AddTagsInput{ResourceArns: []string{arn}, Tags: tags})
	return err
}

func (s *stage) tagsOf(arns ...string) (*elb.DescribeTagsOutput, error) {
	return s.DescribeTags(s.t.Context(), &elb.DescribeTagsInput{ResourceArns: arns})
}

func tagRows() []row {
	const missing = "0000000000000000"
	return []row{
		{
			fact: "target groups and listeners take tags when they are created", grade: documented,
			call: func(s *stage) string {
				in := s.groupInput(tcp)
				in.Tags = manyTags(2)
				g, err := s.create(in)
				if err != nil {
					return answer(err)
				}
				listen := listenerInput(s.lb, *g.TargetGroupArn, tcp, 30000)
				listen.Tags = manyTags(3)
				l, err := s.listen(listen)
				if err != nil {
					return answer(err)
				}
				out, err := s.tagsOf(*g.TargetGroupArn, l)
				if err != nil {
					return answer(err)
				}
				return fmt.Sprint(len(out.TagDescriptions[0].Tags), len(out.TagDescriptions[1].Tags))
			},
			want: "2 3",
		},
		{
			fact: "tags can be added, changed and removed", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				errs := []error{s.tag(group, "a", "1", "b", "2"), s.tag(group, "a", "3")}
				_, err := s.RemoveTags(s.t.Context(), &elb.RemoveTagsInput{ResourceArns: []string{group}, TagKeys: []string{"b", "absent"}})
				out, described := s.tagsOf(group)
				if described != nil {
					return answer(described)
				}
				tags := out.TagDescriptions[0].Tags
				return fmt.Sprint(answers(append(errs, err)...), " ", len(tags), " ", *tags[0].Key, *tags[0].Value)
			},
			want: "ok 1 a3",
		},
		{
			fact: "a tag key has 1 to 128 characters and a value at most 256", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				long := func(n int) string { return strings.Repeat("x", n) }
				return joined(answers(s.tag(group, "", "v"), s.tag(group, long(129), "v"), s.tag(group, "k", long(257))), answers(s.tag(group, long(128), long(256)), s.tag(group, "k", "")))
			},
			want: "ValidationError ok",
		},
		{
			fact: "tags contain only letters, spaces, numbers and _.:/=+-@", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				return joined(answers(s.tag(group, "k*", "v"), s.tag(group, "k", "a,b"), s.tag(group, "k", "#")), answer(s.tag(group, "é _.:/=+-@1", "ß _.:/=+-@1")))
			},
			want: "ValidationError ok",
		},
		{
			fact: "tag keys that begin with aws: are reserved", grade: documented,
			call: func(s *stage) string { return answer(s.tag(s.group(tcp), "aws:x", "v")) }, want: "ValidationError",
		},
		{
			fact: "a tag key given twice is DuplicateTagKeys", grade: documented,
			call: func(s *stage) string { return answer(s.tag(s.group(tcp), "a", "1", "a", "2")) }, want: "DuplicateTagKeys",
		},
		{
			fact: "DescribeTags takes at most 20 ARNs", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				var arns []string
				for range 21 {
					arns = append(arns, group)
				}
				return answer(second(s.tagsOf(arns...)))
			},
			want: "ValidationError",
		},
		{
			fact: "DescribeTags of a missing ARN is the NotFound of its kind, even if other ARNs exist", grade: documented,
			call: func(s *stage) string {
				group, listener, err := s.serving(tcp)
				ask := func(arn string) error { return second(s.tagsOf(group, arn[:len(arn)-16]+missing)) }
				return joined(answer(err), answer(ask(group)), answer(ask(listener)), answer(ask(s.lb)))
			},
			want: "ok TargetGroupNotFound ListenerNotFound LoadBalancerNotFound",
		},
	}
}

func pageRows() []row {
	return []row{
		{
			fact: "PageSize is 1 to 400 for load balancers, target groups and listeners", grade: documented,
			call: func(s *stage) string {
				size := func(n int32) []error {
					_, lbs := s.DescribeLoadBalancers(s.t.Context(), &elb.DescribeLoadBalancersInput{PageSize: &n})
					_, groups := s.DescribeTargetGroups(s.t.Context(), &elb.DescribeTargetGroupsInput{PageSize: &n})
					_, listeners := s.DescribeListeners(s.t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: &s.lb, PageSize: &n})
					return []error{lbs, groups, listeners}
				}
				return joined(answers(append(size(0), size(401)...)...), answers(append(size(1), size(400)...)...))
			},
			want: "ValidationError ok",
		},
		{
			fact: "markers page through all target groups of a load balancer, and the last page has none", grade: documented,
			call: func(s *stage) string {
				made := map[string]bool{}
				for i := range 5 {
					group := s.group(tcp)
					s.listener(s.lb, group, tcp, int32(30000+i))
					made[group] = true
				}
				pages := elb.NewDescribeTargetGroupsPaginator(s, &elb.DescribeTargetGroupsInput{LoadBalancerArn: &s.lb, PageSize: new(int32(2))})
				seen := 0
				for pages.HasMorePages() {
					page, err := pages.NextPage(s.t.Context())
					if err != nil {
						return answer(err)
					}
					for _, g := range page.TargetGroups {
						if made[*g.TargetGroupArn] {
							seen++
						}
					}
				}
				listeners := elb.NewDescribeListenersPaginator(s, &elb.DescribeListenersInput{LoadBalancerArn: &s.lb, PageSize: new(int32(2))})
				counts := []string{fmt.Sprint(seen)}
				for listeners.HasMorePages() {
					page, err := listeners.NextPage(s.t.Context())
					if err != nil {
						return answer(err)
					}
					counts = append(counts, fmt.Sprint(len(page.Listeners)))
				}
				return joined(counts...)
			},
			want: "5 2 2 1",
		},
		{
			fact: "DescribeLoadBalancers takes at most 20 ARNs", grade: documented,
			call: func(s *stage) string {
				in := &elb.DescribeLoadBalancersInput{}
				for range 21 {
					in.LoadBalancerArns = append(in.LoadBalancerArns, s.lb)
				}
				return answer(second(s.DescribeLoadBalancers(s.t.Context(), in)))
			},
			want: "ValidationError",
		},
		{
			fact: "DescribeTargetHealth is not paged: it answers 401 targets at once", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				if err := s.registerMany(group, 401); err != nil {
					return answer(err)
				}
				return fmt.Sprint(len(strings.Split(s.states(group), "; ")))
			},
			want: "401",
		},
		{
			fact: "DescribeListeners needs a load balancer or listeners", grade: documented,
			call: func(s *stage) string {
				return answer(second(s.DescribeListeners(s.t.Context(), &elb.DescribeListenersInput{})))
			},
			want: "ValidationError",
		},
		{
			fact: "describing a missing load balancer, target group or listener is its NotFound", grade: documented,
			call: func(s *stage) string {
				const absent = "absent-0"
				_, lb := s.DescribeLoadBalancers(s.t.Context(), &elb.DescribeLoadBalancersInput{Names: []string{absent}})
				_, group := s.DescribeTargetGroups(s.t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{absent}})
				_, listener, err := s.serving(tcp)
				_, missing := s.DescribeListeners(s.t.Context(), &elb.DescribeListenersInput{ListenerArns: []string{listener[:len(listener)-16] + "0000000000000000"}})
				return joined(answer(err), answers(lb, group, missing))
			},
			want: "ok LoadBalancerNotFound, TargetGroupNotFound, ListenerNotFound",
		},
	}
}

// hiddenFacts are the facts that no API call can show.
var hiddenFacts = []hidden{
	{"the load balancer fails open: an empty or wholly unhealthy group still gets traffic", documented, "traffic, not an answer; TestLoadBalancerFailsOpen shows the emulator's"},
	{"DeleteListener leaves TCP connections alive and refuses new ones", documented, "traffic; TestTrafficReachesThePod and TestTCPOutlivesItsListener show the emulator's"},
	{"DeleteListener ends UDP flows", documented, "traffic; TestUDPKeepsItsTargetAndEndsWithItsListener shows the emulator's"},
	{"a deregistered target gets no new flows and keeps its old ones, which end after draining only if connection termination is enabled", documented, "traffic; TestDeregisteredTargetKeepsItsFlows shows the emulator's"},
	{"an unhealthy target's TCP connections are reset unless that is disabled or the load balancer fails open", documented, "traffic; TestUnhealthyTargetLosesItsConnections shows the emulator's"},
	{"traffic to a port without a listener goes nowhere", documented, "traffic; TestTrafficReachesThePod shows the emulator's, which refuses at once where AWS drops"},
	{"UDP flows end after 120 idle seconds, fixed", documented, "traffic; TestIdleUDPFlowsEnd shows the emulator's with a shorter time"},
	{"TCP connections end after the listener's idle timeout", documented, "traffic; the emulator keeps the setting and does not enforce it"},
	{"a reused port may still receive a client's pinned UDP flow", inferred, "traffic on AWS; the emulator's flows end with their listener"},
	{"with cross-zone off, a zone leaves DNS when one of its target groups has no healthy target in it", documented, "DNS; the emulator has none"},
	{"a load balancer has at most 25 certificates", documented, "certificates beyond a listener's own are not emulated"},
	{"a VPC has at most 1,200 interfaces of Network Load Balancers", documented, "interfaces are not emulated; the limit is only named"},
	{"a target group has at most one Application Load Balancer as target", documented, "Application Load Balancers are not emulated"},
	{"target group names are unique across Application and Network Load Balancers", documented, "Application Load Balancers are not emulated"},
	{"listener rules, QUIC data, weighted target groups and secondary addresses of 2025 and 2026", documented, "rules are not emulated; weights are, see TestWeightsShareNewFlows"},
	{"calls that EC2, ECS, Auto Scaling or CloudFormation make take no tokens", documented, "no such callers here"},
	{"AWS support can raise token buckets", documented, "not visible in the API; Config.Buckets sets the emulator's"},
	{"callers should back off with jitter", documented, "advice to callers"},
	{"the AWS Load Balancer Controller limits itself to 4 registrations, 3 changes and 50 descriptions a second", inSource, "another program"},
	{"the sustained rate of a pod's whole life follows from the buckets", inferred, "arithmetic over the rows above"},
	{"CloudTrail shows ThrottlingException where the wire says Throttling", observed, "another service; Switches.ThrottlingException is the emulator's"},
	{"security groups of a load balancer must open the listener's port", inferred, "traffic; the emulator has no security groups"},
	{"HealthUnavailable is HTTP 500 and PriorRequestNotComplete HTTP 429", documented, "cannot be provoked; a fault can answer them"},
	{"ResourceInUse of DeleteListener comes only with an Application Load Balancer as target", documented, "Application Load Balancers are not emulated"},
	{"DeleteTargetGroup and CreateListener on one target group are serialized", unverified, "sequential calls are a row; a race on AWS can never prove it"},
	{"registration takes 10-180 s, a listener up to 30 s more, deregistration 30-180 s until traffic stops", observed, "traffic over time on AWS; Config.Delays are the emulator's"},
	{"a target's Target.InvalidState, Target.IpUnusable, Elb.InternalError and Target.HealthCheckDisabled", documented, "cannot be provoked with IP targets"},
}
