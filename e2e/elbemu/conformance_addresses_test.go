package elbemu_test

import (
	"fmt"
	"strings"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// addressRows are the facts about Elastic IPs.
func addressRows() []row {
	const needsAddress = "needs Elastic IPs and an internet gateway"
	create := func(s *stage, name *string, scheme types.LoadBalancerSchemeEnum, allocations ...string) (*elb.CreateLoadBalancerOutput, error) {
		in := &elb.CreateLoadBalancerInput{Name: name, Type: types.LoadBalancerTypeEnumNetwork, Scheme: scheme}
		for i, subnet := range []string{"subnet-local-b", "subnet-local-a"}[:len(allocations)] {
			m := types.SubnetMapping{SubnetId: &subnet}
			if allocations[i] != "" {
				m.AllocationId = &allocations[i]
			}
			in.SubnetMappings = append(in.SubnetMappings, m)
		}
		return s.CreateLoadBalancer(s.t.Context(), in)
	}
	public := types.LoadBalancerSchemeEnumInternetFacing
	const a, b = "eipalloc-local-a", "eipalloc-local-b"
	addresses := func(s *stage, made *elb.CreateLoadBalancerOutput, err error) string {
		if err != nil {
			return answer(err)
		}
		out, err := s.DescribeLoadBalancers(s.t.Context(), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{*made.LoadBalancers[0].LoadBalancerArn}})
		if err != nil {
			return answer(err)
		}
		var text []string
		for _, zone := range out.LoadBalancers[0].AvailabilityZones {
			at := strings.TrimPrefix(*zone.SubnetId, "subnet-local-") + ":"
			for _, address := range zone.LoadBalancerAddresses {
				at += fmt.Sprint(*address.IpAddress, "=", *address.AllocationId)
			}
			text = append(text, at)
		}
		return strings.Join(text, " ")
	}
	return []row{
		{
			fact: "a load balancer with Elastic IPs names the address of each zone", grade: documented, only: needsAddress,
			call: func(s *stage) string {
				made, err := create(s, s.name(), public, b, a)
				return addresses(s, made, err)
			},
			want: "a:198.51.100.1=eipalloc-local-a b:198.51.100.2=eipalloc-local-b",
		},
		{
			fact: "a load balancer names no address in a zone without an Elastic IP, though its addresses stay as well", grade: inferred, only: needsAddress,
			call: func(s *stage) string {
				made, err := create(s, s.name(), public, "", "")
				return addresses(s, made, err)
			},
			want: "a: b:",
		},
		{
			fact: "an Elastic IP that does not exist is AllocationIdNotFound", grade: documented, only: needsAddress,
			call: func(s *stage) string {
				return answer(second(create(s, s.name(), public, "eipalloc-00000000000000000")))
			},
			want: "AllocationIdNotFound",
		},
		{
			fact: "an internal load balancer has no Elastic IPs", grade: observed, only: needsAddress,
			call: func(s *stage) string {
				return answer(second(create(s, s.name(), types.LoadBalancerSchemeEnumInternal, a)))
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "an Elastic IP belongs to one zone of one load balancer until the load balancer is deleted", grade: observed, only: needsAddress,
			call: func(s *stage) string {
				_, twice := create(s, s.name(), public, a, a)
				made, err := create(s, s.name(), public, a)
				if err != nil {
					return answer(err)
				}
				_, taken := create(s, s.name(), public, b, a)
				_, deleted := s.DeleteLoadBalancer(s.t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: made.LoadBalancers[0].LoadBalancerArn})
				return joined(answers(twice, taken), answers(deleted, second(create(s, s.name(), public, b, a))))
			},
			want: "ResourceInUse ok",
		},
		{
			fact: "creating a load balancer again with its Elastic IPs answers the existing one, with others it is refused", grade: inferred, only: needsAddress,
			call: func(s *stage) string {
				name := s.name()
				return joined(answers(second(create(s, name, public, a)), second(create(s, name, public, a))), answers(second(create(s, name, public, b)), second(create(s, name, public, ""))))
			},
			want: "ok DuplicateLoadBalancerName",
		},
		{
			fact: "subnets and subnet mappings in one call are refused", grade: inferred,
			call: func(s *stage) string {
				return answer(second(s.CreateLoadBalancer(s.t.Context(), &elb.CreateLoadBalancerInput{
					Name: s.name(), Type: types.LoadBalancerTypeEnumNetwork, Scheme: types.LoadBalancerSchemeEnumInternal,
					Subnets: s.subnets, SubnetMappings: []types.SubnetMapping{{SubnetId: &s.subnets[0]}},
				})))
			},
			want: "ValidationError",
		},
	}
}
