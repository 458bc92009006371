// This file is over 300 lines because the facts about listeners are one table. The README
// prints it in the same order.

package elbemu_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

var listenerARN = regexp.MustCompile(`^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:listener/net/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}/[0-9a-f]{16}$`)

// listenWith creates a listener on a new TCP group, with a changed input.
func (s *stage) listenWith(change func(*elb.CreateListenerInput)) error {
	in := listenerInput(s.lb, s.group(tcp), tcp, 30000)
	change(in)
	return second(s.listen(in))
}

func loadBalancerRows() []row {
	create := func(s *stage, change func(*elb.CreateLoadBalancerInput)) (string, error) {
		in := &elb.CreateLoadBalancerInput{
			Name: new(s.prefix + "-one"), Type: types.LoadBalancerTypeEnumNetwork, Scheme: types.LoadBalancerSchemeEnumInternal, Subnets: s.subnets,
		}
		change(in)
		out, err := s.CreateLoadBalancer(s.t.Context(), in)
		if err != nil {
			return "", err
		}
		return *out.LoadBalancers[0].LoadBalancerArn, nil
	}
	return []row{
		{
			fact: "creating a load balancer again answers the existing one", grade: documented,
			call: func(s *stage) string {
				again, err := create(s, func(*elb.CreateLoadBalancerInput) {})
				return fmt.Sprint(answer(err), " ", again == s.lb)
			},
			want: "ok true",
		},
		{
			fact: "a load balancer of the same name with another scheme is refused", grade: documented, only: "AWS might check first that the VPC has an internet gateway",
			call: func(s *stage) string {
				return answer(second(create(s, func(in *elb.CreateLoadBalancerInput) { in.Scheme = types.LoadBalancerSchemeEnumInternetFacing })))
			},
			want: "DuplicateLoadBalancerName",
		},
		{
			fact: "a load balancer in a missing subnet is SubnetNotFound", grade: documented,
			call: func(s *stage) string {
				return answer(second(create(s, func(in *elb.CreateLoadBalancerInput) {
					in.Name, in.Subnets = s.name(), []string{"subnet-00000000000000000"}
				})))
			},
			want: "SubnetNotFound",
		},
		{
			fact: "a load balancer name does not begin with internal-, begin or end with a hyphen, or exceed 32 characters", grade: documented,
			call: func(s *stage) string {
				with := func(name string) error {
					return second(create(s, func(in *elb.CreateLoadBalancerInput) { in.Name = &name }))
				}
				return answers(with("internal-x"), with("-x"), with("x-"), with("a23456789012345678901234567890123"), with("a_b"))
			},
			want: "ValidationError",
		},
		{
			fact: "a load balancer has at most one subnet in a zone", grade: observed, only: "needs two subnets in one zone",
			cfg: elbemu.Config{
				VPCs: []elbemu.VPC{{ID: "vpc-local", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
				Subnets: []elbemu.Subnet{
					{ID: "subnet-local-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "a"},
					{ID: "subnet-local-b", CIDR: netip.MustParsePrefix("127.30.128.0/17"), Zone: "a"},
				},
			},
			call: func(s *stage) string {
				return answer(second(create(s, func(in *elb.CreateLoadBalancerInput) {
					in.Name, in.Subnets = s.name(), []string{"subnet-local-a", "subnet-local-b"}
				})))
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "a load balancer is provisioning for a while, then active", grade: documented, only: needsClock,
			cfg: elbemu.Config{Delays: &elbemu.Delays{Provisioning: 2 * time.Minute}},
			call: func(s *stage) string {
				arn, err := create(s, func(in *elb.CreateLoadBalancerInput) { in.Name = s.name() })
				state := func() string {
					out, err := s.DescribeLoadBalancers(s.t.Context(), &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}})
					if err != nil {
						return answer(err)
					}
					return string(out.LoadBalancers[0].State.Code)
				}
				before := state()
				s.clock.advance(2 * time.Minute)
				return joined(answer(err), before, state())
			},
			want: "ok provisioning active",
		},
	}
}

func listenerRows() []row {
	const taken = "A listener already exists on this port for this load balancer"
	const missing = "0000000000000000"
	return []row{
		{
			fact: "a port has one listener, whatever the protocol: UDP in addition to TCP is refused", grade: documented,
			call: func(s *stage) string {
				s.listener(s.lb, s.group(tcp), tcp, 30000)
				return answerSaying(second(s.listen(listenerInput(s.lb, s.group(udp), udp, 30000))), taken)
			},
			want: "DuplicateListener",
		},
		{
			fact: "TCP and UDP on one port is one TCP_UDP listener", grade: documented,
			call: func(s *stage) string {
				return answer(second(s.listen(listenerInput(s.lb, s.group(tcpUDP), tcpUDP, 30000))))
			},
			want: "ok",
		},
		{
			fact: "creating a listener again answers the existing one", grade: documented,
			call: func(s *stage) string {
				in := listenerInput(s.lb, s.group(tcp), tcp, 30000)
				one, err := s.listen(in)
				two, again := s.listen(in)
				return fmt.Sprint(answers(err, again), " ", one == two)
			},
			want: "ok true",
		},
		{
			fact: "creating a listener again with other tags answers the existing one", grade: unverified,
			call: func(s *stage) string {
				in := listenerInput(s.lb, s.group(tcp), tcp, 30000)
				one, err := s.listen(in)
				in.Tags = manyTags(2)
				two, again := s.listen(in)
				return fmt.Sprint(answers(err, again), " ", one == two)
			},
			want: "ok true",
		},
		{
			fact: "a listener on a taken port with another target group is refused", grade: observed,
			call: func(s *stage) string {
				s.listener(s.lb, s.group(tcp), tcp, 30000)
				return answerSaying(second(s.listen(listenerInput(s.lb, s.group(tcp), tcp, 30000))), taken)
			},
			want: "DuplicateListener",
		},
		{
			fact: "ModifyListener onto a taken port is a ValidationError", grade: observed,
			call: func(s *stage) string {
				group := s.group(tcp)
				s.listener(s.lb, group, tcp, 30000)
				other := s.listener(s.lb, group, tcp, 30001)
				_, err := s.ModifyListener(s.t.Context(), &elb.ModifyListenerInput{ListenerArn: &other, Port: new(int32(30000))})
				return answerSaying(err, "Listener port '30000' is already in use")
			},
			want: "ValidationError",
		},
		{
			fact: "ModifyListener moves a listener and changes its target group", grade: documented,
			call: func(s *stage) string {
				before, after := s.group(tcp), s.group(tcp)
				l := s.listener(s.lb, before, tcp, 30000)
				out, err := s.ModifyListener(s.t.Context(), &elb.ModifyListenerInput{ListenerArn: &l, Port: new(int32(30001)), DefaultActions: forwardTo(after)})
				if err != nil {
					return answer(err)
				}
				changed := out.Listeners[0]
				return fmt.Sprint(*changed.Port, " ", *changed.DefaultActions[0].TargetGroupArn == after, " ", *changed.ListenerArn == l, " ", answer(s.deleteGroupPatiently(before)))
			},
			want: "30001 true true ok",
		},
		{
			fact: "a Network Load Balancer has no HTTP listeners", grade: observed,
			call: func(s *stage) string {
				return answerSaying(s.listenWith(func(in *elb.CreateListenerInput) { in.Protocol = types.ProtocolEnumHttp }), "Listener protocol 'HTTP' must be one of")
			},
			want: "ValidationError",
		},
		{
			fact: "a listener needs port and protocol", grade: documented,
			call: func(s *stage) string {
				return answers(
					s.listenWith(func(in *elb.CreateListenerInput) { in.Port = nil }),
					s.listenWith(func(in *elb.CreateListenerInput) { in.Protocol = "" }))
			},
			want: "ValidationError",
		},
		{
			fact: "a listener port is 1 to 65535", grade: documented,
			call: func(s *stage) string {
				on := func(port int32) error {
					return s.listenWith(func(in *elb.CreateListenerInput) { in.Port = &port })
				}
				return joined(answers(on(0), on(65536)), answers(on(1), on(65535)))
			},
			want: "ValidationError ok",
		},
		{
			fact: "an action must name a target group", grade: observed,
			call: func(s *stage) string {
				return answerSaying(s.listenWith(func(in *elb.CreateListenerInput) { in.DefaultActions[0].TargetGroupArn = nil }), "A target group ARN must be specified")
			},
			want: "ValidationError",
		},
		{
			fact: "a listener of a Network Load Balancer can only forward", grade: inferred,
			call: func(s *stage) string {
				return answer(s.listenWith(func(in *elb.CreateListenerInput) {
					in.DefaultActions = []types.Action{{Type: types.ActionTypeEnumFixedResponse, FixedResponseConfig: &types.FixedResponseActionConfig{StatusCode: new("200")}}}
				}))
			},
			want: "InvalidLoadBalancerAction",
		},
		{
			fact: "a listener on a missing load balancer is LoadBalancerNotFound", grade: documented,
			call: func(s *stage) string {
				return answer(s.listenWith(func(in *elb.CreateListenerInput) { in.LoadBalancerArn = new(s.lb[:len(s.lb)-16] + missing) }))
			},
			want: "LoadBalancerNotFound",
		},
		{
			fact: "a listener to a missing target group is TargetGroupNotFound", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				return answer(second(s.listen(listenerInput(s.lb, group[:len(group)-16]+missing, tcp, 30000))))
			},
			want: "TargetGroupNotFound",
		},
		{
			fact: "a listener to a deleted target group is TargetGroupNotFound", grade: unverified,
			call: func(s *stage) string {
				group := s.group(tcp)
				return joined(answer(s.deleteGroup(group)), answer(second(s.listen(listenerInput(s.lb, group, tcp, 30000)))))
			},
			want: "ok TargetGroupNotFound",
		},
		{
			fact: "a listener ARN names the load balancer and ends in 16 hexadecimal digits", grade: documented,
			call: func(s *stage) string {
				l := s.listener(s.lb, s.group(tcp), tcp, 30000)
				return fmt.Sprint(listenerARN.MatchString(l), " ", strings.Contains(l, strings.Split(s.lb, ":loadbalancer/")[1]))
			},
			want: "true true",
		},
		{
			fact: "the TCP idle timeout of a listener is 350 seconds by default, and 60 to 6000", grade: documented,
			call: func(s *stage) string {
				l := s.listener(s.lb, s.group(tcp), tcp, 30000)
				out, err := s.DescribeListenerAttributes(s.t.Context(), &elb.DescribeListenerAttributesInput{ListenerArn: &l})
				if err != nil {
					return answer(err)
				}
				standard := ""
				for _, a := range out.Attributes {
					if *a.Key == "tcp.idle_timeout.seconds" {
						standard = *a.Value
					}
				}
				set := func(value string) error {
					_, err := s.ModifyListenerAttributes(s.t.Context(), &elb.ModifyListenerAttributesInput{
						ListenerArn: &l, Attributes: []types.ListenerAttribute{{Key: new("tcp.idle_timeout.seconds"), Value: &value}},
					})
					return err
				}
				return joined(standard, answers(set("59"), set("6001")), answers(set("60"), set("6000")))
			},
			want: "350 ValidationError ok",
		},
		{
			fact: "a TLS listener needs a certificate", grade: documented,
			call: func(s *stage) string {
				return answer(second(s.listen(listenerInput(s.lb, s.group(tlsP), tlsP, 443))))
			},
			want: "CertificateNotFound",
		},
	}
}

// refusedPairs returns the target group protocols that each listener protocol refuses.
func (s *stage) refusedPairs(listeners, groups []types.ProtocolEnum) string {
	var refused []string
	for i, l := range listeners {
		for j, g := range groups {
			in := listenerInput(s.lb, s.group(g), l, int32(20000+10*i+j))
			if l == tlsP {
				in.Certificates = []types.Certificate{{CertificateArn: new("arn:aws:acm:us-east-1:000000000000:certificate/c")}}
			}
			arn, err := s.listen(in)
			switch a := answerSaying(err, "have incompatible protocols"); a {
			case "ok":
				if err := s.removeListener(arn); err != nil { // a QUIC listener must be the only one
					return answer(err)
				}
			case "IncompatibleProtocols":
				refused = append(refused, fmt.Sprintf("%s>%s", l, g))
			default:
				return fmt.Sprintf("%s>%s: %s", l, g, a)
			}
		}
	}
	slices.Sort(refused)
	return joined(refused...)
}

func associationRows() []row {
	allProtocols := []types.ProtocolEnum{tcp, tlsP, udp, tcpUDP, quic, tcpQ}
	ipv6 := elbemu.Config{
		VPCs:    []elbemu.VPC{{ID: "vpc-local", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
		Subnets: []elbemu.Subnet{{ID: "subnet-local-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: "a"}},
	}
	return []row{
		{
			fact: "TCP, UDP and TCP_UDP listeners refuse target groups of other protocols", grade: documented,
			call: func(s *stage) string {
				mine := []types.ProtocolEnum{tcp, udp, tcpUDP}
				return s.refusedPairs(mine, mine)
			},
			want: "TCP>UDP TCP_UDP>TCP TCP_UDP>UDP UDP>TCP",
		},
		{
			fact: "all listener protocols refuse target groups of other protocols", grade: documented, only: "needs a certificate, and not every Region has QUIC",
			call: func(s *stage) string { return s.refusedPairs(allProtocols, allProtocols) },
			want: "QUIC>TCP QUIC>TCP_UDP QUIC>TLS QUIC>UDP TCP>QUIC TCP>TLS TCP>UDP TCP_QUIC>QUIC TCP_QUIC>TCP TCP_QUIC>TCP_UDP TCP_QUIC>TLS TCP_QUIC>UDP " +
				"TCP_UDP>QUIC TCP_UDP>TCP TCP_UDP>TCP_QUIC TCP_UDP>TLS TCP_UDP>UDP TLS>QUIC TLS>TCP_QUIC TLS>TCP_UDP TLS>UDP UDP>QUIC UDP>TCP UDP>TCP_QUIC UDP>TLS",
		},
		{
			fact: "a target group serves one load balancer", grade: observed,
			call: func(s *stage) string {
				group := s.group(tcp)
				s.listener(s.lb, group, tcp, 30000)
				return answerSaying(second(s.listen(listenerInput(s.lb2, group, tcp, 30000))), "cannot be associated with more than one load balancer")
			},
			want: "TargetGroupAssociationLimit",
		},
		{
			fact: "several listeners of one load balancer may share a target group", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				s.listener(s.lb, group, tcp, 30000)
				return answer(second(s.listen(listenerInput(s.lb, group, tcp, 30001))))
			},
			want: "ok",
		},
		{
			fact: "a load balancer has at most one QUIC listener, and none together with UDP", grade: documented, only: "not every Region has QUIC",
			call: func(s *stage) string {
				s.listener(s.lb, s.group(quic), quic, 1)
				s.listener(s.lb2, s.group(udp), udp, 1)
				return answers(
					second(s.listen(listenerInput(s.lb, s.group(quic), quic, 2))),
					second(s.listen(listenerInput(s.lb, s.group(tcpQ), tcpQ, 3))),
					second(s.listen(listenerInput(s.lb, s.group(udp), udp, 4))),
					second(s.listen(listenerInput(s.lb2, s.group(quic), quic, 2))))
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "dualstack refuses QUIC, and UDP with an IPv4 target group", grade: documented, only: "needs IPv6 subnets", cfg: ipv6,
			call: func(s *stage) string {
				out, err := s.CreateLoadBalancer(s.t.Context(), &elb.CreateLoadBalancerInput{
					Name: s.name(), Type: types.LoadBalancerTypeEnumNetwork, Subnets: s.subnets, IpAddressType: types.IpAddressTypeDualstack,
				})
				if err != nil {
					return answer(err)
				}
				lb := *out.LoadBalancers[0].LoadBalancerArn
				in := s.groupInput(udp)
				in.IpAddressType = types.TargetGroupIpAddressTypeEnumIpv6
				six, err := s.create(in)
				if err != nil {
					return answer(err)
				}
				return joined(
					answers(second(s.listen(listenerInput(lb, s.group(udp), udp, 1))), second(s.listen(listenerInput(lb, s.group(quic), quic, 2)))),
					answers(second(s.listen(listenerInput(lb, s.group(tcp), tcp, 3))), second(s.listen(listenerInput(lb, *six.TargetGroupArn, udp, 4)))))
			},
			want: "InvalidConfigurationRequest ok",
		},
		{
			fact: "an ipv4 load balancer refuses IPv6 target groups", grade: documented, only: "needs IPv6 subnets", cfg: ipv6,
			call: func(s *stage) string {
				in := s.groupInput(tcp)
				in.IpAddressType = types.TargetGroupIpAddressTypeEnumIpv6
				six, err := s.create(in)
				if err != nil {
					return answer(err)
				}
				return answer(second(s.listen(listenerInput(s.lb, *six.TargetGroupArn, tcp, 1))))
			},
			want: "InvalidConfigurationRequest",
		},
	}
}
