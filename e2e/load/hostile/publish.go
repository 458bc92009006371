package hostile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// These attacks need no allocator: IAM lets a pod create target groups and listeners
// with its own tags, on any port and for any address of the VPC. The janitor must find
// what no claim lists.

const (
	// orphanLimit is how long something that no claim lists may stay. A pod may present a
	// binding whose Leases are lost for five claim durations. Then its deletion waits
	// behind the calls that bind honest pods.
	orphanLimit = 5*claimDuration + 20*time.Second
	// fillLimit is the same for a whole load balancer, whose deletion takes a mutating
	// call for each listener.
	fillLimit = orphanLimit + 25*time.Second
	// refill is how long AWS's buckets take to fill. Whoever has credentials can empty
	// them, which no program can prevent. So honest pods start that much later.
	refill = 3 * time.Second
	// Ports that the pool grants last, so that no honest pod has them.
	lastPort = firstPort + portsEach - 1
	// madeUpGeneration is newer than that of any holder.
	madeUpGeneration = 999
)

func tagList(m map[string]string) (list []types.Tag) {
	for key, value := range m {
		list = append(list, types.Tag{Key: &key, Value: &value})
	}
	return list
}

// emptyGroup creates a target group.
func (a *attacker) emptyGroup(ctx context.Context, name string, tags map[string]string) (arn string, err error) {
	made, err := a.aws.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: &name, Protocol: types.ProtocolEnumUdp, Port: aws.Int32(7777), VpcId: aws.String("vpc-rig"), TargetType: types.TargetTypeEnumIp,
		HealthCheckProtocol: types.ProtocolEnumTcp, HealthCheckPort: aws.String("9901"), Tags: tagList(tags),
	})
	if err != nil {
		return "", fmt.Errorf("creating a target group: %w", err)
	}
	return aws.ToString(made.TargetGroups[0].TargetGroupArn), nil
}

// group creates a target group that forwards to an address.
func (a *attacker) group(ctx context.Context, name, ip string, tags map[string]string) (arn string, err error) {
	if arn, err = a.emptyGroup(ctx, name, tags); err != nil {
		return "", err
	}
	_, err = a.aws.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: &arn, Targets: []types.TargetDescription{{Id: &ip}}})
	if err != nil {
		return "", fmt.Errorf("registering %s: %w", ip, err)
	}
	return arn, nil
}

// listener creates a listener. An account that is throttled is asked again.
func (a *attacker) listener(ctx context.Context, loadBalancer string, port int, group string, tags map[string]string) (arn string, err error) {
	err = rig.Eventually(ctx, "a listener of an attacker", func() error {
		made, err := a.aws.CreateListener(ctx, &elbv2.CreateListenerInput{
			LoadBalancerArn: &loadBalancer, Port: aws.Int32(int32(port)), Protocol: types.ProtocolEnumUdp, Tags: tagList(tags),
			DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &group}},
		})
		if err != nil {
			return fmt.Errorf("creating a listener on port %d: %w", port, err)
		}
		arn = aws.ToString(made.Listeners[0].ListenerArn)
		return nil
	})
	return arn, err
}

func groupName(a *attacker, n int) string { return fmt.Sprintf("pl-%s-%d", a.UID[:8], n) }

// gone reports whether AWS no longer has a resource.
func gone(err error) bool {
	answer, ok := errors.AsType[smithy.APIError](err)
	return ok && strings.HasSuffix(answer.ErrorCode(), "NotFound")
}

// leaseOf names a port of the first load balancer.
func (w *world) leaseOf(port int) string {
	return ledger.PortName(ledger.LoadBalancerID(w.LoadBalancerARNs[0]), port)
}

// publish creates a listener for an address that belongs to somebody else.
func publish(ctx context.Context, w *world, port int, change func(map[string]string)) (judge, error) {
	a, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	victim, err := w.NewAddress()
	if err != nil {
		return nil, err
	}
	tags := a.tags(api.Fence{Lease: w.leaseOf(port), Epoch: "made-up", Generation: madeUpGeneration})
	change(tags)
	group, err := a.group(ctx, groupName(a, 0), victim, tags)
	if err != nil {
		return nil, err
	}
	if _, err := a.listener(ctx, w.LoadBalancerARNs[0], port, group, tags); err != nil {
		return nil, err
	}
	return w.judgeOrphans(a, orphanLimit, func(listeners int) bool { return listeners == 0 },
		fmt.Sprintf("%s in public on port %d", victim, port)), nil
}

func publishNewerGeneration(ctx context.Context, w *world) (judge, error) {
	return publish(ctx, w, lastPort, func(map[string]string) {})
}

func publishMalformedTags(ctx context.Context, w *world) (judge, error) {
	return publish(ctx, w, lastPort-1, func(tags map[string]string) {
		tags[elb.TagLease], tags[elb.TagGeneration] = "none", "newest"
	})
}

// publishSecondListener binds a granted port like an agent, and then opens another
// listener with the same tags.
func publishSecondListener(ctx context.Context, w *world) (judge, error) {
	a, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	c, group, err := a.bind(ctx, poolOpen)
	if err != nil {
		return nil, err
	}
	tags := a.tags(c.Ports[0].Fence)
	if _, err := a.listener(ctx, c.LoadBalancer.ARN, lastPort-2, group, tags); err != nil {
		return nil, err
	}
	return w.judgeOrphans(a, orphanLimit, func(listeners int) bool { return listeners == 1 },
		fmt.Sprintf("port %d beside the one that was granted", lastPort-2)), nil
}

// fillLoadBalancer takes all ports of a load balancer that are left.
func fillLoadBalancer(ctx context.Context, w *world) (judge, error) {
	a, err := w.newAttacker(ctx)
	if err != nil {
		return nil, err
	}
	group, err := a.group(ctx, groupName(a, 0), a.IP, a.tags(api.Fence{Lease: w.leaseOf(firstPort), Epoch: "made-up", Generation: madeUpGeneration}))
	if err != nil {
		return nil, err
	}
	// The attacker stays below AWS's rate, so that nobody is throttled.
	pace := time.NewTicker(time.Second / (2 * speed))
	defer pace.Stop()
	for port := firstPort; port <= lastPort; port++ {
		<-pace.C
		tags := a.tags(api.Fence{Lease: w.leaseOf(port), Epoch: "made-up", Generation: madeUpGeneration})
		if _, err := a.listener(ctx, w.LoadBalancerARNs[0], port, group, tags); err != nil {
			return nil, err
		}
	}
	return w.judgeOrphans(a, fillLimit, func(listeners int) bool { return listeners == 0 },
		fmt.Sprintf("all %d listeners of a load balancer", portsEach)), nil
}

// grant claims a port and the AWS calls that bind it.
func (a *attacker) grant(ctx context.Context, poolName string) (c api.Claim, err error) {
	var given answer
	err = rig.Eventually(ctx, a.Name+" to be granted a port", func() error {
		if given, err = a.put(ctx, poolName, gamePort); err == nil {
			c, err = given.claim()
		}
		if err == nil && c.BindAfterSeconds > 0 {
			err = errors.New("its AWS calls are not granted yet")
		}
		return err
	})
	return c, err
}

// license records the target group of a claim's only port.
func (a *attacker) license(ctx context.Context, c api.Claim, group string) error {
	return a.must(ctx, "recording the target group", api.CallTargetGroup,
		api.TargetGroupRequest{ClaimUID: c.UID, Fence: c.Ports[0].Fence, TargetGroupARN: group})
}

// release gives all ports back.
func (a *attacker) release(ctx context.Context, c api.Claim) error {
	return a.must(ctx, "the release", api.CallRelease, api.ReleaseRequest{ClaimUID: c.UID})
}

// finish says that the binding of a claim's only port is gone.
func (a *attacker) finish(ctx context.Context, c api.Claim) error {
	query := url.Values{api.QueryClaimUID: {c.UID}, api.QueryGone: {c.Ports[0].Fence.Lease}}
	given, err := a.call(ctx, a.w.Replicas[0], http.MethodDelete, "?"+query.Encode(), nil)
	if err == nil && !given.ok() {
		err = fmt.Errorf("the end of a release was answered %v", given)
	}
	return err
}

// must makes a call of a holder that the allocator has to grant.
func (a *attacker) must(ctx context.Context, what, path string, body any) error {
	given, err := a.call(ctx, a.w.Replicas[0], http.MethodPost, path, body)
	if err == nil && !given.ok() {
		err = fmt.Errorf("%s was answered %v", what, given)
	}
	return err
}

// bind claims a port and binds it as an agent does.
func (a *attacker) bind(ctx context.Context, poolName string) (c api.Claim, group string, err error) {
	if c, err = a.grant(ctx, poolName); err != nil {
		return c, "", err
	}
	port := c.Ports[0]
	tags := a.tags(port.Fence)
	if group, err = a.group(ctx, port.TargetGroupName, a.IP, tags); err != nil {
		return c, "", err
	}
	if err = a.license(ctx, c, group); err != nil {
		return c, "", err
	}
	listener, err := a.listener(ctx, c.LoadBalancer.ARN, port.ListenerPort, group, tags)
	if err != nil {
		return c, "", err
	}
	return c, group, a.must(ctx, "reporting the listener", api.CallBound, api.BoundRequest{ClaimUID: c.UID, Fence: port.Fence, ListenerARN: listener})
}

// judgeOrphans waits until AWS has no more listeners of the attacker than it may have.
func (w *world) judgeOrphans(a *attacker, limit time.Duration, allowed func(listeners int) bool, prize string) judge {
	began := time.Now()
	return func(ctx context.Context) (outcome, error) {
		ctx, cancel := context.WithDeadline(ctx, began.Add(limit))
		defer cancel()
		err := scenario.Poll(ctx, 100*time.Millisecond, func() error {
			listeners := 0
			for _, l := range w.Emulator.Snapshot().Listeners {
				if l.Tags[elb.TagPodUID] == a.UID {
					listeners++
				}
			}
			if !allowed(listeners) {
				return fmt.Errorf("%d listeners", listeners)
			}
			return nil
		})
		if err != nil {
			return got(true, "%s, still after %v", prize, limit)
		}
		return got(false, "%s, until the janitor deleted it after %.0f s", prize, time.Since(began).Seconds())
	}
}
