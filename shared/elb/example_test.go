package elb_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// An agent binds a listener port to its pod: target group, target and listener. The
// janitor unbinds it: the listener first, because AWS refuses to delete a target group
// that is in use.
func Example() {
	ctx := context.Background()
	emulator, err := elbemu.New(elbemu.Config{})
	if err != nil {
		panic(err)
	}
	defer emulator.Close() //nolint:errcheck // without a data plane there is nothing to close
	created, err := post(ctx, emulator, url.Values{
		"Action": {"CreateLoadBalancer"}, "Name": {"games"}, "Type": {"network"}, "Subnets.member.1": {"subnet-local-a"},
	})
	if err != nil {
		panic(err)
	}
	loadBalancer := arnPattern.FindStringSubmatch(created)[1]
	client := clientOver(emulator) // elb.New, with an HTTP client that calls the emulator

	claim := api.Claim{Ledger: "cluster/portlease", Namespace: "games", Pod: "game-0", PodUID: "8f7b"}
	fence := api.Fence{Lease: "0123456789abcdef-30000", Epoch: "e1", Generation: 7}
	tags := elb.TagsOf(claim, fence)

	targetGroup, err := client.CreateTargetGroup(ctx, elb.TargetGroupSpec{
		Name: elb.TargetGroupName(claim.Ledger, fence), Protocol: api.UDP, Port: 7777, VPC: "vpc-local",
		HealthCheck: elb.HealthCheck{Protocol: "HTTP", Port: 9902, Path: api.HealthPath}, Tags: tags,
	})
	if err != nil {
		panic(err)
	}
	if err := client.RegisterTarget(ctx, targetGroup, "127.30.0.7", 7777); err != nil {
		panic(err)
	}
	listener, err := client.CreateListener(ctx, elb.ListenerSpec{
		LoadBalancerARN: loadBalancer, Port: 30000, Protocol: api.UDP, TargetGroupARN: targetGroup, Tags: tags,
	})
	if err != nil {
		panic(err)
	}
	targets, err := client.Targets(ctx, targetGroup)
	if err != nil {
		panic(err)
	}
	fmt.Printf("bound: port 30000 forwards to %s:%d\n", targets[0].IP, targets[0].Port)

	err = client.DeleteTargetGroup(ctx, targetGroup)
	fmt.Println("in use:", errors.Is(err, elb.ErrInUse))
	if err := errors.Join(client.DeleteListener(ctx, listener), client.DeleteTargetGroup(ctx, targetGroup)); err != nil {
		panic(err)
	}
	fmt.Println("unbound")
	// Output:
	// bound: port 30000 forwards to 127.30.0.7:7777
	// in use: true
	// unbound
}

// The name of a target group follows from the ledger's id and the fence, so the agent and
// the janitor find the target group of one holding without any record.
func ExampleTargetGroupName() {
	fence := api.Fence{Lease: "0123456789abcdef-30000", Epoch: "e1", Generation: 3}
	fmt.Println(elb.TargetGroupName("ledger", fence))
	// Output: pl-mwc5vauwwn6iarpatpluriq6lkcjb
}

// Tags tell own resources from foreign ones.
func ExampleReadTags() {
	own := elb.Tags{
		Ledger: "cluster/portlease", Namespace: "games", Pod: "game-0", PodUID: "8f7b",
		Lease: "0123456789abcdef-30000", Epoch: "e1", Generation: 7,
	}
	tags, ok := elb.ReadTags(own.Map())
	fmt.Println(ok, tags.Fence())
	_, ok = elb.ReadTags(map[string]string{"team": "games"})
	fmt.Println(ok)
	// Output:
	// true {0123456789abcdef-30000 e1 7}
	// false
}
