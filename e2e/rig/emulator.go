package rig

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/portlease/portlease/e2e/elbemu"
)

// startEmulator serves the emulator on loopback and creates the pool's load balancers
// and the foreign resources.
func (r *Rig) startEmulator(ctx context.Context) error {
	c := elbemu.Config{
		Region: region, Account: account, DataPlane: r.DataPlane,
		VPCs: []elbemu.VPC{{ID: "vpc-rig", CIDR: netip.MustParsePrefix("127.30.0.0/16")}},
		Subnets: []elbemu.Subnet{
			{ID: "subnet-a", CIDR: netip.MustParsePrefix("127.30.0.0/17"), Zone: region + "a"},
			{ID: "subnet-b", CIDR: netip.MustParsePrefix("127.30.128.0/17"), Zone: region + "b"},
		},
	}
	if r.Config.Emulator != nil {
		r.Config.Emulator(&c)
	}
	var err error
	if r.Emulator, err = elbemu.New(c); err != nil {
		return fmt.Errorf("making the emulator: %w", err)
	}
	r.faults.clear()
	r.Emulator.SetFault(r.faults.of)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for the emulator: %w", err)
	}
	r.emulator = &http.Server{Handler: r.Emulator, Addr: listener.Addr().String(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: idleTimeout}
	go r.emulator.Serve(listener) //nolint:errcheck // Close ends it
	client := r.ELB()
	for i := range r.LoadBalancers {
		// The first load balancer has fixed addresses. AWS does not list the
		// addresses of the others.
		arn, err := makeLoadBalancer(ctx, client, fmt.Sprintf("games-%d", i+1), i == 0)
		if err != nil {
			return err
		}
		r.LoadBalancerARNs = append(r.LoadBalancerARNs, arn)
	}
	return r.makeForeign(ctx)
}

// AWS gives an SDK configuration that reaches the emulator directly.
func (r *Rig) AWS() aws.Config {
	return aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider("rig", "rig", ""),
		BaseEndpoint: aws.String("http://" + r.emulator.Addr),
	}
}

// ELB gives the AWS SDK's client of the emulator, for calls that the project itself
// never makes.
func (r *Rig) ELB() *elbv2.Client { return elbv2.NewFromConfig(r.AWS()) }

func makeLoadBalancer(ctx context.Context, client *elbv2.Client, name string, fixed bool) (string, error) {
	in := &elbv2.CreateLoadBalancerInput{Name: &name, Type: types.LoadBalancerTypeEnumNetwork}
	for _, zone := range []string{"a", "b"} {
		m := types.SubnetMapping{SubnetId: aws.String("subnet-" + zone)}
		if fixed {
			m.AllocationId = aws.String("eipalloc-local-" + zone)
		}
		in.SubnetMappings = append(in.SubnetMappings, m)
	}
	made, err := client.CreateLoadBalancer(ctx, in)
	if err != nil {
		return "", fmt.Errorf("creating load balancer %s: %w", name, err)
	}
	arn := aws.ToString(made.LoadBalancers[0].LoadBalancerArn)
	_, err = client.ModifyLoadBalancerAttributes(ctx, &elbv2.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: &arn,
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")}},
	})
	if err != nil {
		return "", fmt.Errorf("switching cross-zone on for %s: %w", name, err)
	}
	return arn, nil
}
