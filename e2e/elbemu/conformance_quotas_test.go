// This file is over 300 lines because the facts about quotas are one table. The README
// prints it in the same order.

package elbemu_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/e2e/elbemu"
)

// rows returns all facts that calls can show.
func rows() []row {
	return slices.Concat(quotaRows(), throttlingRows(), loadBalancerRows(), addressRows(), groupRows(), attributeRows(), listenerRows(), associationRows(), targetRows(), healthRows(), deletionRows(), tagRows(), pageRows())
}

const (
	adjustable = "the quota is adjustable, so an account may have another"
	needsClock = "needs a clock that can be moved"
	throttles  = "would throttle everybody else in the account"
)

const (
	tcp    = types.ProtocolEnumTcp
	udp    = types.ProtocolEnumUdp
	tcpUDP = types.ProtocolEnumTcpUdp
	tlsP   = types.ProtocolEnumTls
	quic   = types.ProtocolEnumQuic
	tcpQ   = types.ProtocolEnumTcpQuic
)

// until repeats a call until it fails. It returns the number of successes and the error
// code.
func until(limit int, call func(i int) error) string {
	for i := range limit {
		if err := call(i); err != nil {
			return fmt.Sprintf("%d then %s", i, answer(err))
		}
	}
	return fmt.Sprintf("all %d", limit)
}

// ports returns n targets on one address, on ports from 1.
func (s *stage) ports(n int) []types.TargetDescription {
	var list []types.TargetDescription
	for i := range n {
		list = append(list, s.target(int32(1+i)))
	}
	return list
}

// registerMany registers n targets on one address, 200 per call.
func (s *stage) registerMany(group string, n int) error {
	for chunk := range slices.Chunk(s.ports(n), 200) {
		if err := s.register(group, chunk...); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) setLB(lb, key, value string) error {
	_, err := s.ModifyLoadBalancerAttributes(s.t.Context(), &elb.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &lb, Attributes: []types.LoadBalancerAttribute{{Key: &key, Value: &value}},
	})
	return err
}

func (s *stage) limit(name string) string {
	out, err := s.DescribeAccountLimits(s.t.Context(), &elb.DescribeAccountLimitsInput{})
	if err != nil {
		return answer(err)
	}
	for _, l := range out.Limits {
		if *l.Name == name {
			return *l.Max
		}
	}
	return "absent"
}

func quotaRows() []row {
	limit := func(name, value, only string, g grade) row {
		return row{
			fact: "DescribeAccountLimits names " + name, grade: g, only: only,
			call: func(s *stage) string { return s.limit(name) }, want: value,
		}
	}
	return []row{
		limit("listeners-per-network-load-balancer", "50", "", documented),
		limit("network-load-balancers", "50", adjustable, documented),
		limit("target-groups", "3000", adjustable, documented),
		limit("targets-per-target-group", "1000", adjustable, documented),
		limit("targets-per-availability-zone-per-network-load-balancer", "500", adjustable, documented),
		limit("targets-per-network-load-balancer", "3000", adjustable, documented),
		limit("certificates-per-network-load-balancer", "25", adjustable, documented),
		limit("network-load-balancer-enis-per-vpc", "1200", adjustable, documented),
		limit("target-groups-per-action-on-network-load-balancer", "5", "", unverified),
		{
			fact: "a load balancer has at most 50 listeners", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				return until(60, func(i int) error {
					_, err := s.listen(listenerInput(s.lb, group, tcp, int32(30000+i)))
					return err
				})
			},
			want: "50 then TooManyListeners",
		},
		{
			fact: "a Region has at most 50 Network Load Balancers", grade: documented, only: adjustable,
			call: func(s *stage) string {
				return until(60, func(int) error {
					_, err := s.CreateLoadBalancer(s.t.Context(), &elb.CreateLoadBalancerInput{Name: s.name(), Type: types.LoadBalancerTypeEnumNetwork, Subnets: s.subnets})
					return err
				})
			},
			want: "48 then TooManyLoadBalancers", // the stage already has two
		},
		{
			fact: "a Region has at most 3,000 target groups", grade: documented, only: adjustable,
			call: func(s *stage) string {
				return until(3010, func(int) error {
					_, err := s.create(s.groupInput(tcp))
					return err
				})
			},
			want: "3000 then TooManyTargetGroups",
		},
		{
			fact: "a target group has at most 1,000 targets", grade: documented, only: adjustable,
			call: func(s *stage) string {
				group := s.group(tcp)
				return answers(s.registerMany(group, 1000), s.register(group, s.target(2000)))
			},
			want: "ok, TooManyTargets",
		},
		{
			fact: "a zone has at most 500 targets on a load balancer; a target in several groups counts once for each", grade: documented, only: adjustable,
			call: func(s *stage) string {
				one, two := s.group(tcp), s.group(tcp)
				return answers(s.registerMany(one, 400), s.registerMany(two, 101),
					second(s.listen(listenerInput(s.lb, one, tcp, 1))), second(s.listen(listenerInput(s.lb, two, tcp, 2))))
			},
			want: "ok, TooManyTargets",
		},
		{
			fact: "a load balancer has at most 3,000 targets, and 500 when cross-zone is on; CreateListener refuses too", grade: documented, only: adjustable,
			cfg: elbemu.Config{Quotas: elbemu.Quotas{TargetsPerZone: 10000}},
			call: func(s *stage) string {
				var all []error
				for i := range 4 {
					group := s.group(tcp)
					all = append(all, s.registerMany(group, 1000), second(s.listen(listenerInput(s.lb, group, tcp, int32(i+1)))))
				}
				before := answer(all[5]) + " " + answer(all[7])
				group := s.group(tcp)
				return before + " " + answer(s.setLB(s.lb2, "load_balancing.cross_zone.enabled", "true")) + " " +
					answer(s.registerMany(group, 500)) + " " + answer(second(s.listen(listenerInput(s.lb2, group, tcp, 1)))) + " " +
					answer(s.register(group, s.target(2000)))
			},
			want: "ok TooManyTargets ok ok ok TooManyTargets",
		},
		{
			fact: "a forward action has at most 5 target groups", grade: unverified,
			call: func(s *stage) string {
				in := listenerInput(s.lb, "", tcp, 30000)
				config := &types.ForwardActionConfig{}
				in.DefaultActions = []types.Action{{Type: types.ActionTypeEnumForward, ForwardConfig: config}}
				for range 6 {
					config.TargetGroups = append(config.TargetGroups, types.TargetGroupTuple{TargetGroupArn: new(s.group(tcp)), Weight: new(int32(1))})
				}
				_, six := s.listen(in)
				config.TargetGroups = config.TargetGroups[:5]
				_, five := s.listen(in)
				return answers(six, five)
			},
			want: "TooManyTargetGroups, ok",
		},
		{
			fact: "a resource has at most 50 tags", grade: documented,
			call: func(s *stage) string {
				group := s.group(tcp)
				tag := func(n int) error {
					_, err := s.AddTags(s.t.Context(), &elb.AddTagsInput{ResourceArns: []string{group}, Tags: manyTags(n)})
					return err
				}
				in := s.groupInput(tcp)
				in.Tags = manyTags(51)
				_, create := s.create(in)
				return answers(tag(50), tag(50), tag(51), create)
			},
			want: "ok, TooManyTags",
		},
	}
}

func second[T any](_ T, err error) error { return err }

func manyTags(n int) []types.Tag {
	var list []types.Tag
	for i := range n {
		list = append(list, types.Tag{Key: new(fmt.Sprintf("k%d", i)), Value: new("v")})
	}
	return list
}

// burst returns how many calls succeed at once, and how many more after a wait.
func (s *stage) burst(wait time.Duration, call func() error) string {
	count := func() int {
		n := 0
		for n < 1000 && answer(call()) != "Throttling" {
			n++
		}
		return n
	}
	first := count()
	s.clock.advance(wait)
	return fmt.Sprintf("%d, %d after %v", first, count(), wait)
}

func throttlingRows() []row {
	published := elbemu.Config{Profile: elbemu.ProfileAWS}
	const absentLB = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/net/absent/0000000000000000"
	const absentGroup = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/absent/0000000000000000"
	deleteLB := func(s *stage) error {
		_, err := s.DeleteLoadBalancer(s.t.Context(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: new(absentLB)})
		return err
	}
	limits := func(s *stage) error {
		_, err := s.DescribeAccountLimits(s.t.Context(), &elb.DescribeAccountLimitsInput{})
		return err
	}
	return []row{
		{
			fact: "mutating calls: 20 at once, 3 a second", grade: documented, only: throttles, cfg: published,
			call: func(s *stage) string { return s.burst(5*time.Second, func() error { return deleteLB(s) }) },
			want: "20, 15 after 5s",
		},
		{
			fact: "registrations: 20 at once, 4 a second", grade: documented, only: throttles, cfg: published,
			call: func(s *stage) string {
				return s.burst(4*time.Second, func() error { return s.deregister(absentGroup, s.target(1)) })
			},
			want: "20, 16 after 4s",
		},
		{
			fact: "Describe calls: 40 at once, 10 a second", grade: documented, only: throttles, cfg: published,
			call: func(s *stage) string { return s.burst(3*time.Second, func() error { return limits(s) }) },
			want: "40, 30 after 3s",
		},
		{
			fact: "CreateLoadBalancer: 10 at once, one in 5 seconds", grade: documented, only: throttles, cfg: published,
			call: func(s *stage) string {
				return s.burst(15*time.Second, func() error {
					return second(s.CreateLoadBalancer(s.t.Context(), &elb.CreateLoadBalancerInput{Name: s.name(), Type: types.LoadBalancerTypeEnumNetwork, Subnets: s.subnets}))
				})
			},
			want: "10, 3 after 15s",
		},
		{
			fact: "all calls together: 40 at once", grade: documented, only: throttles, cfg: published,
			call: func(s *stage) string {
				for range 20 {
					if err := deleteLB(s); err != nil {
						return answer(err)
					}
					if err := s.deregister(absentGroup, s.target(1)); answer(err) != "TargetGroupNotFound" {
						return answer(err)
					}
				}
				return answerSaying(limits(s), "Rate exceeded")
			},
			want: "Throttling",
		},
		{
			fact: "tags in a create call take no extra token", grade: documented, only: throttles, cfg: published,
			call: func(s *stage) string {
				return s.burst(0, func() error {
					in := s.groupInput(tcp)
					in.Tags = manyTags(6)
					_, err := s.create(in)
					return err
				})
			},
			want: "20, 0 after 0s",
		},
		{
			fact: "a throttled call is Throttling with HTTP 400, no modeled exception, and is not applied", grade: observed, only: throttles, cfg: published,
			call: func(s *stage) string {
				for range 20 {
					if err := deleteLB(s); err != nil {
						return answer(err)
					}
				}
				_, err := s.create(s.groupInput(tcp))
				var generic *smithy.GenericAPIError
				return fmt.Sprint(answerSaying(err, "Rate exceeded"), " ", errors.As(err, &generic) && generic.Code == "Throttling", " ", len(s.e.Snapshot().TargetGroups))
			},
			want: "Throttling true 0",
		},
		{
			fact: "the SDK's standard retryer makes three attempts of a throttled call, and one of a ResourceInUse", grade: ran,
			only: "needs faults on demand",
			call: func(s *stage) string {
				patient := elb.New(s.Options(), func(o *elb.Options) {
					o.Retryer = newImpatientRetryer()
				})
				count := func(f elbemu.Fault) int {
					n := 0
					s.e.SetFault(func(elbemu.Call) elbemu.Fault { n++; return f })
					_, err := patient.DescribeLoadBalancers(s.t.Context(), &elb.DescribeLoadBalancersInput{})
					if err == nil {
						s.t.Error("the fault was not met")
					}
					return n
				}
				return fmt.Sprint(count(elbemu.Throttle()), count(elbemu.ServerError()), count(elbemu.Refuse(400, "ResourceInUse", "x")), count(elbemu.Refuse(400, "TargetGroupNotFound", "x")))
			},
			want: "3 3 1 1",
		},
	}
}

// newImpatientRetryer returns the SDK's standard retryer without its waits.
func newImpatientRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Nanosecond })
}

func joined(parts ...string) string { return strings.Join(parts, " ") }
