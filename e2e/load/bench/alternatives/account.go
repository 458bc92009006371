package alternatives

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

const (
	region     = "us-east-1"
	vpc        = "vpc-fleet"
	targetPort = 7777
	firstPort  = 30000
)

// account is an emulated AWS account that one alternative has for itself, with the buckets
// and delays of AWS.
type account struct {
	emulator *elbemu.Emulator
	// loadBalancers have so many listeners each.
	loadBalancers []string
	listeners     int
	// before are the calls that made the load balancers.
	before map[string]elbemu.CallCount
}

// newAccount makes an account with load balancers for that many listeners.
func newAccount(ctx context.Context, listeners, listenersEach int) (*account, error) {
	// The load balancers are long there, and the buckets are full.
	var later atomic.Int64
	subnet := elbemu.Subnet{ID: "subnet-a", CIDR: netip.MustParsePrefix("10.0.0.0/8"), Zone: region + "a"}
	a := &account{listeners: listenersEach}
	var err error
	a.emulator, err = elbemu.New(elbemu.Config{
		Region: region, Profile: elbemu.ProfileAWS, VPCs: []elbemu.VPC{{ID: vpc, CIDR: subnet.CIDR}}, Subnets: []elbemu.Subnet{subnet},
		Quotas: elbemu.Quotas{Listeners: listenersEach, TargetsCrossZone: listenersEach, TargetsPerZone: listenersEach, TargetsPerLoadBalancer: listenersEach},
		Now:    func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
	})
	if err != nil {
		return nil, fmt.Errorf("making an account: %w", err)
	}
	client := a.client(aws.NopRetryer{})
	for i := range (listeners + listenersEach - 1) / listenersEach {
		made, err := client.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{
			Name: aws.String(fmt.Sprintf("fleet-%d", i)), Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{subnet.ID},
		})
		if err != nil {
			return nil, fmt.Errorf("making a load balancer: %w", err)
		}
		a.loadBalancers = append(a.loadBalancers, aws.ToString(made.LoadBalancers[0].LoadBalancerArn))
		later.Add(int64(time.Hour))
	}
	a.before = a.emulator.CallCounts()
	return a, nil
}

// client makes a client of the account with that way to retry.
func (a *account) client(retryer aws.Retryer) *elbv2.Client {
	return elbv2.New(elbv2.Options{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider("fleet", "fleet", ""), Retryer: retryer,
		HTTPClient: &http.Client{Transport: a.emulator}, BaseEndpoint: aws.String("http://aws.invalid"),
	})
}

// calls returns how many calls were made and throttled since newAccount.
func (a *account) calls() (total, throttled int) {
	for action, n := range a.emulator.CallCounts() {
		total += n.Total - a.before[action].Total
		throttled += n.Throttled - a.before[action].Throttled
	}
	return total, throttled
}

// leftovers counts the listeners and target groups that are there.
func (a *account) leftovers() int {
	s := a.emulator.Snapshot()
	return len(s.Listeners) + len(s.TargetGroups)
}

// pod is one pod of the fleet, and what there is in AWS for it.
type pod struct {
	number             int
	targetGroup        string
	registered         bool
	listener           string
	loadBalancer       string
	listenerPort       int
	deletedListener    bool
	deletedTargetGroup bool
}

func (p *pod) ip() string {
	return netip.AddrFrom4([4]byte{10, 1, byte(p.number >> 8), byte(p.number)}).String()
}

// create makes what is missing of the pod's binding. Its name and port are its own, so a
// repeated call finds what an earlier one made.
func (p *pod) create(ctx context.Context, client *elbv2.Client) error {
	if err := p.createTargetGroup(ctx, client, fmt.Sprintf("game-%d", p.number)); err != nil {
		return err
	}
	if !p.registered {
		if err := p.register(ctx, client); err != nil {
			return err
		}
		p.registered = true
	}
	return p.createListener(ctx, client)
}

func (p *pod) createTargetGroup(ctx context.Context, client *elbv2.Client, name string) error {
	if p.targetGroup != "" {
		return nil
	}
	made, err := client.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: &name, Protocol: types.ProtocolEnumUdp, Port: aws.Int32(targetPort), VpcId: aws.String(vpc), TargetType: types.TargetTypeEnumIp,
		HealthCheckProtocol: types.ProtocolEnumTcp, HealthCheckPort: aws.String("9901"),
	})
	if err == nil {
		p.targetGroup = aws.ToString(made.TargetGroups[0].TargetGroupArn)
	}
	return err
}

func (p *pod) register(ctx context.Context, client *elbv2.Client) error {
	_, err := client.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
		TargetGroupArn: &p.targetGroup, Targets: []types.TargetDescription{{Id: aws.String(p.ip()), Port: aws.Int32(targetPort)}},
	})
	return err
}

func (p *pod) createListener(ctx context.Context, client *elbv2.Client) error {
	made, err := client.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &p.loadBalancer, Port: aws.Int32(int32(p.listenerPort)), Protocol: types.ProtocolEnumUdp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: &p.targetGroup}},
	})
	if err == nil {
		p.listener = aws.ToString(made.Listeners[0].ListenerArn)
	}
	return err
}

// delete deletes what is left of the pod's binding.
func (p *pod) delete(ctx context.Context, client *elbv2.Client) error {
	if p.listener != "" && !p.deletedListener {
		if err := p.deleteListener(ctx, client); err != nil {
			return err
		}
	}
	if p.targetGroup == "" || p.deletedTargetGroup {
		return nil
	}
	return p.deleteTargetGroup(ctx, client)
}

func (p *pod) deleteListener(ctx context.Context, client *elbv2.Client) error {
	_, err := client.DeleteListener(ctx, &elbv2.DeleteListenerInput{ListenerArn: &p.listener})
	if _, gone := errors.AsType[*types.ListenerNotFoundException](err); err == nil || gone {
		p.deletedListener = true
		return nil
	}
	return err
}

func (p *pod) deleteTargetGroup(ctx context.Context, client *elbv2.Client) error {
	_, err := client.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &p.targetGroup})
	if err == nil {
		p.deletedTargetGroup = true
	}
	return err
}
