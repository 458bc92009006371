// This file is over 300 lines because the facts about target groups are one table. The
// README prints it in the same order.

package elbemu_test

import (
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

// twice creates a group, then again with a change. It returns the second answer, and
// whether it is the same group.
func (s *stage) twice(text string, change func(*elb.CreateTargetGroupInput)) string {
	in := s.groupInput(udp)
	first, err := s.create(in)
	if err != nil {
		return answer(err)
	}
	change(in)
	again, err := s.create(in)
	if err != nil {
		return answerSaying(err, text)
	}
	if *again.TargetGroupArn != *first.TargetGroupArn {
		return "another group"
	}
	return "same group"
}

const differs = "exists, but with different settings"

// with creates a group with a changed input.
func (s *stage) with(change func(*elb.CreateTargetGroupInput)) (*types.TargetGroup, error) {
	in := s.groupInput(tcp)
	change(in)
	return s.create(in)
}

// withEach creates a group with each change and returns the distinct answers.
func (s *stage) withEach(changes ...func(*elb.CreateTargetGroupInput)) string {
	var errs []error
	for _, change := range changes {
		errs = append(errs, second(s.with(change)))
	}
	return answers(errs...)
}

func named(name string) func(*elb.CreateTargetGroupInput) {
	return func(in *elb.CreateTargetGroupInput) { in.Name = &name }
}

func checkedBy(p types.ProtocolEnum) func(*elb.CreateTargetGroupInput) {
	return func(in *elb.CreateTargetGroupInput) { in.HealthCheckProtocol = p }
}

func checkText(g *types.TargetGroup) string {
	codes := ""
	if g.Matcher != nil {
		codes = aws.ToString(g.Matcher.HttpCode)
	}
	return fmt.Sprint(g.HealthCheckProtocol, " ", aws.ToString(g.HealthCheckPort), " ", aws.ToString(g.HealthCheckPath), " ", codes, " every ", *g.HealthCheckIntervalSeconds,
		" timeout ", *g.HealthCheckTimeoutSeconds, " healthy ", *g.HealthyThresholdCount, " unhealthy ", *g.UnhealthyThresholdCount)
}

var groupARN = regexp.MustCompile(`^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[A-Za-z0-9-]{1,32}/[0-9a-f]{16}$`)

func groupRows() []row {
	duplicate := func(what string, change func(*elb.CreateTargetGroupInput)) row {
		return row{
			fact: "a target group of the same name with another " + what + " is refused", grade: observed,
			call: func(s *stage) string { return s.twice(differs, change) }, want: "DuplicateTargetGroupName",
		}
	}
	return []row{
		{
			fact: "creating a target group again answers the existing one", grade: documented,
			call: func(s *stage) string { return s.twice("", func(*elb.CreateTargetGroupInput) {}) }, want: "same group",
		},
		duplicate("port", func(in *elb.CreateTargetGroupInput) { in.Port = new(int32(1)) }),
		duplicate("protocol", func(in *elb.CreateTargetGroupInput) { in.Protocol = tcp }),
		duplicate("target type", func(in *elb.CreateTargetGroupInput) { in.TargetType = types.TargetTypeEnumInstance }),
		duplicate("health check", func(in *elb.CreateTargetGroupInput) { in.HealthCheckIntervalSeconds = new(int32(10)) }),
		{
			fact: "creating a target group again with other tags answers the existing one, whose tags stay", grade: unverified,
			call: func(s *stage) string {
				in := s.groupInput(udp)
				in.Tags = manyTags(1)
				first, err := s.create(in)
				if err != nil {
					return answer(err)
				}
				in.Tags = manyTags(2)
				_, err = s.create(in)
				out, described := s.DescribeTags(s.t.Context(), &elb.DescribeTagsInput{ResourceArns: []string{*first.TargetGroupArn}})
				if described != nil {
					return answer(described)
				}
				return fmt.Sprint(answer(err), " ", len(out.TagDescriptions[0].Tags))
			},
			want: "ok 1",
		},
		{
			fact: "a target group name has at most 32 characters", grade: documented,
			call: func(s *stage) string {
				return answerSaying(second(s.with(named("a23456789012345678901234567890123"))), "cannot be longer than '32' characters")
			},
			want: "ValidationError",
		},
		{
			fact: "a target group name contains only letters, digits and hyphens", grade: observed,
			call: func(s *stage) string {
				return answerSaying(second(s.with(named("a_b"))), "can only contain characters that are alphanumeric characters or hyphens(-)")
			},
			want: "ValidationError",
		},
		{
			fact: "a target group name does not begin or end with a hyphen", grade: documented,
			call: func(s *stage) string { return s.withEach(named("-a"), named("a-")) }, want: "ValidationError",
		},
		{
			fact: "a target group name may hold two hyphens in a row", grade: unverified,
			call: func(s *stage) string { return s.withEach(named(s.prefix + "--x")) }, want: "ok",
		},
		{
			fact: "a target group ARN ends in the name and 16 hexadecimal digits", grade: documented,
			call: func(s *stage) string { return fmt.Sprint(groupARN.MatchString(s.group(tcp))) }, want: "true",
		},
		{
			fact: "protocol, port and VPC are required for IP targets", grade: documented,
			call: func(s *stage) string {
				return s.withEach(
					func(in *elb.CreateTargetGroupInput) { in.Protocol = "" },
					func(in *elb.CreateTargetGroupInput) { in.Port = nil },
					func(in *elb.CreateTargetGroupInput) { in.VpcId = nil })
			},
			want: "ValidationError",
		},
		{
			fact: "a target group's port is 1 to 65535", grade: documented,
			call: func(s *stage) string {
				port := func(n int32) func(*elb.CreateTargetGroupInput) {
					return func(in *elb.CreateTargetGroupInput) { in.Port = &n }
				}
				return joined(s.withEach(port(0), port(65536)), s.withEach(port(1), port(65535)))
			},
			want: "ValidationError ok",
		},
		{
			fact: "the IP address type of a target group is ipv4 by default", grade: documented,
			call: func(s *stage) string {
				g, err := s.with(func(*elb.CreateTargetGroupInput) {})
				if err != nil {
					return answer(err)
				}
				return string(g.IpAddressType)
			},
			want: "ipv4",
		},
		{
			fact: "health checks of IP targets cannot be disabled", grade: observed,
			call: func(s *stage) string {
				return answerSaying(second(s.with(func(in *elb.CreateTargetGroupInput) { in.HealthCheckEnabled = new(false) })),
					`Health check enabled must be true with groups with target type "ip"`)
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "health checks are TCP, HTTP or HTTPS", grade: documented,
			call: func(s *stage) string {
				return s.withEach(checkedBy(tcp), checkedBy(types.ProtocolEnumHttp), checkedBy(types.ProtocolEnumHttps))
			},
			want: "ok",
		},
		{
			fact: "another health check protocol is an InvalidConfigurationRequest", grade: unverified,
			call: func(s *stage) string {
				return s.withEach(checkedBy(udp), checkedBy(tcpUDP), checkedBy(tlsP), checkedBy(quic), checkedBy(tcpQ), checkedBy(types.ProtocolEnumGeneve))
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "defaults of TCP health checks", grade: documented,
			call: func(s *stage) string {
				g, err := s.create(s.groupInput(udp))
				if err != nil {
					return answer(err)
				}
				return checkText(g)
			},
			want: "TCP traffic-port   every 30 timeout 10 healthy 5 unhealthy 2",
		},
		{
			fact: "defaults of HTTP health checks", grade: documented,
			call: func(s *stage) string {
				g, err := s.with(checkedBy(types.ProtocolEnumHttp))
				if err != nil {
					return answer(err)
				}
				return checkText(g)
			},
			want: "HTTP traffic-port / 200-399 every 30 timeout 6 healthy 5 unhealthy 2",
		},
		{
			fact: "the timeout of HTTPS health checks is 10 seconds by default", grade: documented,
			call: func(s *stage) string {
				g, err := s.with(checkedBy(types.ProtocolEnumHttps))
				if err != nil {
					return answer(err)
				}
				return fmt.Sprint(*g.HealthCheckTimeoutSeconds)
			},
			want: "10",
		},
		{
			fact: "health check intervals are 5-300 s, timeouts 2-120 s, thresholds 2-10", grade: documented,
			call: func(s *stage) string {
				set := func(interval, timeout, healthy, unhealthy int32) func(*elb.CreateTargetGroupInput) {
					return func(in *elb.CreateTargetGroupInput) {
						in.HealthCheckIntervalSeconds, in.HealthCheckTimeoutSeconds = &interval, &timeout
						in.HealthyThresholdCount, in.UnhealthyThresholdCount = &healthy, &unhealthy
					}
				}
				return joined(
					s.withEach(set(4, 2, 2, 2), set(301, 2, 2, 2), set(30, 1, 2, 2), set(30, 121, 2, 2), set(30, 6, 1, 2), set(30, 6, 11, 2), set(30, 6, 2, 1), set(30, 6, 2, 11)),
					s.withEach(set(5, 2, 2, 10), set(300, 120, 10, 2)))
			},
			want: "ValidationError ok",
		},
		{
			fact: "a health check timeout above the interval is refused, also if it is the default; an equal one is accepted", grade: observed,
			call: func(s *stage) string {
				set := func(protocol types.ProtocolEnum, interval int32, timeout *int32) error {
					_, err := s.with(func(in *elb.CreateTargetGroupInput) {
						in.HealthCheckProtocol, in.HealthCheckIntervalSeconds, in.HealthCheckTimeoutSeconds = protocol, &interval, timeout
					})
					return err
				}
				const refusal = "Health check interval must be greater than the timeout"
				return joined(
					answerSaying(set(tcp, 5, new(int32(6))), refusal), answerSaying(set(types.ProtocolEnumHttp, 5, nil), refusal),
					answers(set(tcp, 10, new(int32(10))), set(types.ProtocolEnumHttp, 6, nil)))
			},
			want: "ValidationError ValidationError ok",
		},
		{
			fact: "ModifyTargetGroup refuses a timeout above the interval, too", grade: inferred,
			call: func(s *stage) string {
				group := s.group(tcp) // every 30 s, with a timeout of 10 s
				modify := func(interval int32) error {
					_, err := s.ModifyTargetGroup(s.t.Context(), &elb.ModifyTargetGroupInput{TargetGroupArn: &group, HealthCheckIntervalSeconds: &interval})
					return err
				}
				return joined(answer(modify(5)), answer(modify(10)))
			},
			want: "ValidationError ok",
		},
		{
			fact: "matchers and paths belong to HTTP health checks", grade: observed,
			call: func(s *stage) string {
				codes := func(in *elb.CreateTargetGroupInput) { in.Matcher = &types.Matcher{HttpCode: new("200")} }
				path := func(in *elb.CreateTargetGroupInput) { in.HealthCheckPath = new("/x") }
				return s.withEach(codes, path)
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "matchers are within 200-599", grade: documented,
			call: func(s *stage) string {
				codes := func(text string) func(*elb.CreateTargetGroupInput) {
					return func(in *elb.CreateTargetGroupInput) {
						in.HealthCheckProtocol, in.Matcher = types.ProtocolEnumHttp, &types.Matcher{HttpCode: &text}
					}
				}
				return joined(s.withEach(codes("199"), codes("600"), codes("200-600")), s.withEach(codes("200-599"), codes("200,204")))
			},
			want: "ValidationError ok",
		},
		{
			fact: "ModifyTargetGroup changes the health check, and with it what a repeated create compares", grade: inferred,
			call: func(s *stage) string {
				in := s.groupInput(udp)
				g, err := s.create(in)
				if err != nil {
					return answer(err)
				}
				out, err := s.ModifyTargetGroup(s.t.Context(), &elb.ModifyTargetGroupInput{
					TargetGroupArn: g.TargetGroupArn, HealthCheckProtocol: types.ProtocolEnumHttp, HealthCheckPath: new("/ready"), HealthyThresholdCount: new(int32(2)),
				})
				if err != nil {
					return answer(err)
				}
				_, again := s.create(in)
				return joined(checkText(&out.TargetGroups[0]), answer(again))
			},
			want: "HTTP traffic-port /ready 200-399 every 30 timeout 6 healthy 2 unhealthy 2 DuplicateTargetGroupName",
		},
		{
			fact: "all protocols of Network Load Balancers can be target groups", grade: documented,
			only: "not every Region has QUIC",
			call: func(s *stage) string {
				var errs []error
				for _, p := range []types.ProtocolEnum{tcp, tlsP, udp, tcpUDP, quic, tcpQ} {
					errs = append(errs, second(s.create(s.groupInput(p))))
				}
				return answers(errs...)
			},
			want: "ok",
		},
		{
			fact: "the switch for tags makes a create with other tags fail", grade: unverified, only: "is a switch of the emulator",
			cfg: elbemu.Config{Switches: elbemu.Switches{TagsCompared: true}},
			call: func(s *stage) string {
				return s.twice(differs, func(in *elb.CreateTargetGroupInput) { in.Tags = manyTags(1) })
			},
			want: "DuplicateTargetGroupName",
		},
		{
			fact: "the switches for throttling, names, health checks and missing groups change their answers", grade: unverified, only: "are switches of the emulator",
			cfg: elbemu.Config{
				Buckets:  &elbemu.Buckets{Mutating: elbemu.Bucket{Capacity: 4, PerSecond: 1}},
				Switches: elbemu.Switches{ThrottlingException: true, RefuseDoubleHyphen: true, HealthCheckProtocolCode: "ValidationError", MissingTargetGroupFails: true},
			},
			call: func(s *stage) string {
				gone := s.group(tcp)
				if err := s.deleteGroup(gone); err != nil {
					return answer(err)
				}
				s.clock.advance(4e9)
				return joined(answer(s.deleteGroup(gone)), answer(second(s.with(named("a--b")))), answer(second(s.with(checkedBy(udp)))), answer(second(s.with(named("fourth")))), answer(s.deleteGroup(gone)))
			},
			want: "TargetGroupNotFound ValidationError ValidationError ok ThrottlingException",
		},
	}
}

// groupAttribute returns one attribute of a group.
func (s *stage) groupAttribute(group, key string) string {
	out, err := s.DescribeTargetGroupAttributes(s.t.Context(), &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: &group})
	if err != nil {
		return answer(err)
	}
	for _, a := range out.Attributes {
		if *a.Key == key {
			return *a.Value
		}
	}
	return "absent"
}

func (s *stage) setGroup(group, key, value string) error {
	_, err := s.ModifyTargetGroupAttributes(s.t.Context(), &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: &group, Attributes: []types.TargetGroupAttribute{{Key: &key, Value: &value}},
	})
	return err
}

func attributeRows() []row {
	defaults := func(fact, key, want string, protocols ...types.ProtocolEnum) row {
		return row{
			fact: fact, grade: documented, want: want,
			call: func(s *stage) string {
				var all []string
				for _, p := range protocols {
					all = append(all, s.groupAttribute(s.group(p), key))
				}
				return joined(all...)
			},
		}
	}
	const (
		delay     = "deregistration_delay.timeout_seconds"
		ends      = "deregistration_delay.connection_termination.enabled"
		client    = "preserve_client_ip.enabled"
		unhealthy = "target_health_state.unhealthy.connection_termination.enabled"
		drain     = "target_health_state.unhealthy.draining_interval_seconds"
		crossZone = "load_balancing.cross_zone.enabled"
	)
	return []row{
		defaults("the deregistration delay is 300 seconds unless said", delay, "300 300", tcp, udp),
		defaults("draining ends connections by default for UDP and TCP_UDP only", ends, "false true true", tcp, udp, tcpUDP),
		defaults("the client IP is preserved by default for UDP and TCP_UDP, not for IP targets of TCP", client, "false true true", tcp, udp, tcpUDP),
		defaults("proxy protocol is off by default", "proxy_protocol_v2.enabled", "false", tcp),
		defaults("stickiness is off by default", "stickiness.enabled", "false", tcp),
		defaults("stickiness is by source_ip", "stickiness.type", "source_ip", tcp),
		defaults("cross-zone of a target group follows the load balancer by default", crossZone, "use_load_balancer_configuration", tcp),
		defaults("unhealthy targets lose their connections by default", unhealthy, "true", tcp),
		defaults("unhealthy targets have no draining interval by default", drain, "0", tcp),
		defaults("DNS failover needs one healthy target by default", "target_group_health.dns_failover.minimum_healthy_targets.count", "1", tcp),
		defaults("DNS failover counts no percentage by default", "target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", tcp),
		defaults("routing to unhealthy targets begins below one healthy target by default", "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", tcp),
		defaults("routing to unhealthy targets counts no percentage by default", "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", tcp),
		{
			fact: "the deregistration delay is 0 to 3600 seconds", grade: documented,
			call: func(s *stage) string {
				g := s.group(tcp)
				return joined(answers(s.setGroup(g, delay, "0"), s.setGroup(g, delay, "3600")), answers(s.setGroup(g, delay, "3601"), s.setGroup(g, delay, "-1"), s.setGroup(g, delay, "x")), s.groupAttribute(g, delay))
			},
			want: "ok ValidationError 3600",
		},
		{
			fact: "the deregistration delay of QUIC is always 300 seconds", grade: documented, only: "not every Region has QUIC",
			call: func(s *stage) string { return answer(s.setGroup(s.group(quic), delay, "60")) }, want: "InvalidConfigurationRequest",
		},
		{
			fact: "client IP preservation cannot be disabled for UDP and TCP_UDP", grade: documented,
			call: func(s *stage) string {
				return joined(answers(s.setGroup(s.group(udp), client, "false"), s.setGroup(s.group(tcpUDP), client, "false")), answer(s.setGroup(s.group(tcp), client, "true")))
			},
			want: "InvalidConfigurationRequest ok",
		},
		{
			fact: "proxy protocol cannot be enabled for QUIC", grade: documented, only: "not every Region has QUIC",
			call: func(s *stage) string { return answer(s.setGroup(s.group(quic), "proxy_protocol_v2.enabled", "true")) }, want: "InvalidConfigurationRequest",
		},
		{
			fact: "ending connections to unhealthy targets cannot be enabled for UDP and TCP_UDP", grade: documented,
			call: func(s *stage) string {
				return answers(s.setGroup(s.group(udp), unhealthy, "true"), s.setGroup(s.group(tcpUDP), unhealthy, "true"))
			},
			want: "InvalidConfigurationRequest",
		},
		{
			fact: "a draining interval for unhealthy targets requires that their connections are not ended", grade: documented,
			call: func(s *stage) string {
				g := s.group(tcp)
				return joined(answer(s.setGroup(g, drain, "60")), answer(s.setGroup(g, unhealthy, "false")), answer(s.setGroup(g, drain, "60")), answer(s.setGroup(g, drain, "360001")))
			},
			want: "InvalidConfigurationRequest ok ok ValidationError",
		},
		{
			fact: "an attribute that does not exist is refused", grade: inferred,
			call: func(s *stage) string {
				return answers(s.setGroup(s.group(tcp), "no.such.attribute", "1"), s.setLB(s.lb, "no.such.attribute", "1"))
			},
			want: "ValidationError",
		},
		{
			fact: "cross-zone of a load balancer is off by default, can be set and read", grade: documented,
			call: func(s *stage) string {
				before := s.lbAttribute(crossZone)
				set := s.setLB(s.lb, crossZone, "true")
				after := s.lbAttribute(crossZone)
				back := s.setLB(s.lb, crossZone, "false")
				return joined(before, answer(set), after, answers(back, s.setLB(s.lb, crossZone, "maybe")))
			},
			want: "false ok true ok, ValidationError",
		},
		{
			fact: "a load balancer with deletion protection cannot be deleted", grade: documented, only: "an interrupted test would leave a load balancer that cannot be deleted",
			call: func(s *stage) string {
				set := s.setLB(s.lb, "deletion_protection.enabled", "true")
				_, err := s.DeleteLoadBalancer(s.t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &s.lb})
				return joined(answer(set), answer(err))
			},
			want: "ok OperationNotPermitted",
		},
	}
}

func (s *stage) lbAttribute(key string) string {
	out, err := s.DescribeLoadBalancerAttributes(s.t.Context(), &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: &s.lb})
	if err != nil {
		return answer(err)
	}
	for _, a := range out.Attributes {
		if *a.Key == key {
			return *a.Value
		}
	}
	return "absent"
}
