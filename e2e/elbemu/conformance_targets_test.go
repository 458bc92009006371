// This file is over 300 lines because the facts about targets are one table. The README
// prints it in the same order.

package elbemu_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
)

const (
	notInUseText      = "unused Target.NotInUse Target group is not configured to receive traffic from the load balancer"
	registeringText   = "initial Elb.RegistrationInProgress Target registration is in progress"
	firstChecksText   = "initial Elb.InitialHealthChecking Initial health checks in progress"
	unhealthyText     = "unhealthy Target.FailedHealthChecks Health checks failed"
	drainingText      = "draining Target.DeregistrationInProgress Target deregistration is in progress"
	notRegisteredText = "unused Target.NotRegistered Target is not registered to the target group"
)

func targetRows() []row {
	outside := func(zone *string) types.TargetDescription {
		return types.TargetDescription{Id: new("100.64.99.1"), AvailabilityZone: zone}
	}
	return []row{
		{
			fact: "targets can be registered before there is a listener, and are unused then", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				return joined(answer(s.register(group, s.target(7777))), s.states(group))
			},
			want: "ok " + notInUseText,
		},
		{
			fact: "registering again changes nothing", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				return joined(answers(s.register(group, s.target(7777)), s.register(group, s.target(7777))), s.states(group))
			},
			want: "ok " + notInUseText,
		},
		{
			fact: "an address may be registered on several ports, and without a port on the group's", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				err := s.register(group, s.target(1), types.TargetDescription{Id: &s.ip})
				return joined(answer(err), s.states(group, s.target(1), s.target(7777), s.target(2)))
			},
			want: "ok " + notInUseText + "; " + notInUseText + "; " + notRegisteredText,
		},
		{
			fact: "publicly routable addresses are refused", grade: documented,
			call: func(s *stage) string {
				return answer(s.register(s.group(tcp), types.TargetDescription{Id: new("8.8.8.8"), AvailabilityZone: new("all")}))
			},
			want: "ValidationError",
		},
		{
			fact: "a target that is not an IP address is refused", grade: inferred,
			call: func(s *stage) string {
				return answer(s.register(s.group(tcp), types.TargetDescription{Id: new("pod-1")}))
			},
			want: "ValidationError",
		},
		{
			fact: "an address outside the VPC needs an Availability Zone", grade: observed,
			call: func(s *stage) string {
				group := s.group(tcp)
				return joined(answerSaying(s.register(group, outside(nil)), "The Availability Zone is required for IP address '100.64.99.1' because it is not in the VPC"),
					answer(s.register(group, outside(new("nowhere")))), answer(s.register(group, outside(new("all")))))
			},
			want: "ValidationError ValidationError ok",
		},
		{
			fact: "an address inside the VPC cannot be registered for all zones", grade: observed,
			call: func(s *stage) string {
				d := s.target(7777)
				d.AvailabilityZone = new("all")
				return answerSaying(s.register(s.group(tcp), d), "is within the VPC, and cannot have its Availability Zone overridden to 'all'")
			},
			want: "ValidationError",
		},
		{
			fact: "subnets decide what is inside a VPC, not its CIDR", grade: observed, only: "needs a VPC whose CIDR its subnets do not cover",
			cfg: elbemu.Config{
				VPCs:    []elbemu.VPC{{ID: "vpc-local", CIDR: netip.MustParsePrefix("10.0.0.0/16")}},
				Subnets: []elbemu.Subnet{{ID: "subnet-local-a", CIDR: netip.MustParsePrefix("10.0.0.0/24"), Zone: "a"}},
			},
			call: func(s *stage) string {
				group := s.group(tcp)
				one := func(ip string) error { return s.register(group, types.TargetDescription{Id: &ip}) }
				return joined(answer(one("10.0.0.9")), answerSaying(one("10.0.1.9"), "because it is not in the VPC"))
			},
			want: "ok ValidationError",
		},
		{
			fact: "QUIC targets need a QuicServerId, others must have none", grade: documented, only: "not every Region has QUIC",
			call: func(s *stage) string {
				with := func(group, id string) error {
					d := s.target(1)
					if id != "" {
						d.QuicServerId = &id
					}
					return s.register(group, d)
				}
				q := s.group(quic)
				return joined(answers(with(q, ""), with(q, "0xABCDEF0123456789"), with(q, "0x12"), with(s.group(tcp), "0x0123456789abcdef")), answer(with(q, "0x0123456789abcdef")))
			},
			want: "ValidationError ok",
		},
		{
			fact: "a QuicServerId belongs to one target and cannot be changed", grade: documented, only: "not every Region has QUIC",
			call: func(s *stage) string {
				group := s.group(quic)
				with := func(port int32, id string) error {
					d := s.target(port)
					d.QuicServerId = &id
					return s.register(group, d)
				}
				return joined(answers(with(1, "0x0000000000000001"), with(1, "0x0000000000000001")), answers(with(1, "0x0000000000000002"), with(2, "0x0000000000000001")))
			},
			want: "ok ValidationError",
		},
		{
			fact: "deregistering a target that is not registered succeeds", grade: documented,
			call: func(s *stage) string { return answer(s.deregister(s.group(tcp), s.target(7777))) }, want: "ok",
		},
		{
			fact: "a target registered with its own port is not deregistered without that port", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				return joined(answers(s.register(group, s.target(1)), s.deregister(group, types.TargetDescription{Id: &s.ip})), s.states(group, s.target(1)))
			},
			want: "ok " + notInUseText,
		},
		{
			fact: "registering, deregistering and reading health in a missing group is TargetGroupNotFound", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				missing := group[:len(group)-16] + "0000000000000000"
				_, health := s.DescribeTargetHealth(s.t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &missing})
				return answers(s.register(missing, s.target(1)), s.deregister(missing, s.target(1)), health)
			},
			want: "TargetGroupNotFound",
		},
		{
			fact: "an invalid ARN is a ValidationError", grade: inferred,
			call: func(s *stage) string {
				return answers(s.register("x", s.target(1)), s.deleteGroup("x"), s.removeListener("x"))
			}, want: "ValidationError",
		},
	}
}

// serving creates a group with one target and a listener.
func (s *stage) serving(protocol types.ProtocolEnum) (group, listener string, err error) {
	group = s.group(protocol)
	err = s.register(group, s.target(7777))
	return group, s.listener(s.lb, group, protocol, 30000), err
}

func healthRows() []row {
	const needsTarget = "needs a target that answers, and time"
	return []row{
		{
			fact: "DescribeTargetHealth of a target that is not registered answers unused", grade: documented,
			call: func(s *stage) string { return s.states(s.group(tcp), s.target(1)) }, want: notRegisteredText,
		},
		{
			fact: "a target is registering, then being checked, then healthy after one pass whatever the threshold", grade: documented, only: needsClock,
			cfg: elbemu.Config{Delays: &elbemu.Delays{Registration: time.Minute}},
			call: func(s *stage) string {
				*s.up = false
				group, _, err := s.serving(udp)
				all := []string{answer(err), s.states(group)}
				s.clock.advance(time.Minute)
				all = append(all, s.states(group))
				*s.up = true
				s.clock.advance(30 * time.Second)
				return strings.Join(append(all, s.states(group)), "; ")
			},
			want: "ok; " + registeringText + "; " + firstChecksText + "; healthy",
		},
		{
			fact: "unhealthy after the unhealthy threshold, healthy again after the healthy one", grade: documented, only: needsTarget,
			call: func(s *stage) string {
				group, _, err := s.serving(tcp)
				all := []string{answer(err), s.states(group)}
				step := func(up bool, checks int) {
					*s.up = up
					s.clock.advance(time.Duration(checks) * 30 * time.Second)
					all = append(all, s.states(group))
				}
				step(false, 1)
				step(false, 1)
				step(true, 4)
				step(true, 1)
				return strings.Join(all, "; ")
			},
			want: "ok; healthy; healthy; " + unhealthyText + "; " + unhealthyText + "; healthy",
		},
		{
			fact: "an unhealthy target is unhealthy.draining for its draining interval", grade: documented, only: needsTarget,
			call: func(s *stage) string {
				group, _, err := s.serving(tcp)
				cuts := s.setGroup(group, "target_health_state.unhealthy.connection_termination.enabled", "false")
				drain := s.setGroup(group, "target_health_state.unhealthy.draining_interval_seconds", "45")
				healthy := s.states(group)
				*s.up = false
				s.clock.advance(60 * time.Second)
				before := s.states(group)
				s.clock.advance(60 * time.Second)
				return strings.Join([]string{answers(err, cuts, drain), healthy, before, s.states(group)}, "; ")
			},
			want: "ok; healthy; unhealthy.draining Target.FailedHealthChecks Health checks failed; " + unhealthyText,
		},
		{
			fact: "a target in a zone that the load balancer does not have is unused", grade: documented, only: "needs a second subnet",
			call: func(s *stage) string {
				s.ip = "127.30.200.1" // in subnet-local-b; the load balancer is in -a
				group, _, err := s.serving(tcp)
				return joined(answer(err), s.states(group))
			},
			want: "ok unused Target.NotInUse Target is in an Availability Zone that is not enabled for the load balancer",
		},
		{
			fact: "a deregistered target drains for the deregistration delay, then is gone", grade: documented, only: needsClock,
			call: func(s *stage) string {
				group, _, err := s.serving(udp)
				gone := s.deregister(group, s.target(7777))
				s.clock.advance(299 * time.Second)
				before := s.states(group)
				s.clock.advance(time.Second)
				return strings.Join([]string{answers(err, gone), before, "none: " + s.states(group), s.states(group, s.target(7777))}, "; ")
			},
			want: "ok; " + drainingText + "; none: ; " + notRegisteredText,
		},
		{
			fact: "a deregistered target is draining", grade: documented,
			call: func(s *stage) string {
				group, _, err := s.serving(udp)
				return joined(answers(err, s.deregister(group, s.target(7777))), s.states(group))
			},
			want: "ok " + drainingText,
		},
		{
			fact: "a target deregistered from a group that no listener uses is gone at once", grade: unverified,
			call: func(s *stage) string {
				group := s.group(udp)
				return joined(answers(s.register(group, s.target(7777)), s.deregister(group, s.target(7777))), s.states(group, s.target(7777)))
			},
			want: "ok " + notRegisteredText,
		},
		{
			fact: "the switch for unused targets lets them drain", grade: unverified, only: "is a switch of the emulator",
			cfg: elbemu.Config{Switches: elbemu.Switches{UnusedTargetsDrain: true}},
			call: func(s *stage) string {
				group := s.group(udp)
				return joined(answers(s.register(group, s.target(7777)), s.deregister(group, s.target(7777))), s.states(group, s.target(7777)))
			},
			want: "ok " + drainingText,
		},
	}
}

// deleteGroupPatiently retries, because AWS may refuse for a while after the group's last
// listener was deleted.
func (s *stage) deleteGroupPatiently(arn string) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		err := s.deleteGroup(arn)
		if answer(err) != "ResourceInUse" {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func deletionRows() []row {
	return []row{
		{
			fact: "a target group in use cannot be deleted", grade: observed,
			call: func(s *stage) string {
				group, _, err := s.serving(tcp)
				return joined(answer(err), answerSaying(s.deleteGroup(group), "is currently in use by a listener or a rule"))
			},
			want: "ok ResourceInUse",
		},
		{
			fact: "a target group can be deleted with targets registered and draining", grade: documented,
			call: func(s *stage) string {
				group, listener, err := s.serving(udp)
				return answers(err, s.register(group, s.target(1)), s.deregister(group, s.target(1)), s.removeListener(listener), s.deleteGroupPatiently(group))
			},
			want: "ok",
		},
		{
			fact: "a target group may be in use for up to 20 seconds after its last listener was deleted", grade: inSource, only: needsClock,
			cfg: elbemu.Config{Delays: &elbemu.Delays{InUse: 20 * time.Second}},
			call: func(s *stage) string {
				group, listener, err := s.serving(tcp)
				all := []string{answers(err, s.removeListener(listener)), answer(s.deleteGroup(group))}
				s.clock.advance(20*time.Second - 1)
				all = append(all, answer(s.deleteGroup(group)))
				s.clock.advance(1)
				return joined(append(all, answer(s.deleteGroup(group)))...)
			},
			want: "ok ResourceInUse ResourceInUse ok",
		},
		{
			fact: "a new listener may not be found for some seconds", grade: inSource, only: needsClock,
			cfg: elbemu.Config{Delays: &elbemu.Delays{ListenerVisible: 2 * time.Second}},
			call: func(s *stage) string {
				group, listener, err := s.serving(tcp)
				describe := func() error {
					_, err := s.DescribeListeners(s.t.Context(), &elb.DescribeListenersInput{ListenerArns: []string{listener}})
					return err
				}
				_, tags := s.DescribeTags(s.t.Context(), &elb.DescribeTagsInput{ResourceArns: []string{group, listener}})
				all := []string{answer(err), answer(describe()), answer(tags)}
				s.clock.advance(2 * time.Second)
				return joined(append(all, answer(describe()))...)
			},
			want: "ok ListenerNotFound ListenerNotFound ok",
		},
		{
			fact: "the delay Visible hides a new target group from reads only", grade: unverified, only: "is a delay of the emulator",
			cfg: elbemu.Config{Delays: &elbemu.Delays{Visible: time.Second}},
			call: func(s *stage) string {
				group := s.group(tcp)
				before := joined(answer(s.register(group, s.target(1))), s.states(group))
				s.clock.advance(time.Second)
				return joined(before, s.states(group))
			},
			want: "ok TargetGroupNotFound " + notInUseText,
		},
		{
			fact: "for seconds after its creation any call may not find a target group, and a delete of it may change nothing", grade: observed, only: needsClock,
			cfg: elbemu.Config{Delays: &elbemu.Delays{TargetGroupLag: 2 * time.Second}},
			call: func(s *stage) string {
				// Each call misses the new group with a probability of one half.
				until := func(want string, call func() error) string {
					for range 100 {
						if answer(call()) == want {
							return want
						}
					}
					return "never " + want
				}
				group := s.group(tcp)
				use := func() error { return s.register(group, s.target(1)) }
				all := []string{until("TargetGroupNotFound", use), until("ok", use)}
				s.clock.advance(2 * time.Second)
				return joined(append(all, answers(use(), use(), use(), use(), use(), use()))...)
			},
			want: "TargetGroupNotFound ok ok",
		},
		{
			fact: "deleting a missing target group succeeds", grade: unverified,
			call: func(s *stage) string {
				group := s.group(tcp)
				return answers(s.deleteGroup(group), s.deleteGroup(group))
			},
			want: "ok",
		},
		{
			fact: "deleting a missing listener is ListenerNotFound", grade: documented,
			call: func(s *stage) string {
				_, listener, err := s.serving(tcp)
				return joined(answers(err, s.removeListener(listener)), answer(s.removeListener(listener)))
			},
			want: "ok ListenerNotFound",
		},
		{
			fact: "deleting a missing load balancer succeeds", grade: documented,
			call: func(s *stage) string {
				_, err := s.DeleteLoadBalancer(s.t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: new(s.lb[:len(s.lb)-16] + "0000000000000000")})
				return answer(err)
			},
			want: "ok",
		},
		{
			fact: "deleting a load balancer deletes its listeners and frees their target groups", grade: documented, only: "the account's load balancers are shared by all rows",
			call: func(s *stage) string {
				group, listener, err := s.serving(tcp)
				_, lb := s.DeleteLoadBalancer(s.t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &s.lb})
				return joined(answers(err, lb), answer(s.removeListener(listener)), s.states(group), answer(s.deleteGroup(group)))
			},
			want: "ok ListenerNotFound " + notInUseText + " ok",
		},
		{
			fact: "the SDK's typed errors match by errors.As, and ErrorCode is the code on the wire", grade: ran,
			call: func(s *stage) string {
				_, listener, err := s.serving(tcp)
				err = errors.Join(err, s.removeListener(listener))
				missing := s.removeListener(listener)
				var typed *types.ListenerNotFoundException
				var api smithy.APIError
				return fmt.Sprint(answer(err), " ", errors.As(missing, &typed), " ", errors.As(missing, &api) && api.ErrorCode() == "ListenerNotFound")
			},
			want: "ok true true",
		},
	}
}
