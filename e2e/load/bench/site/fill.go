package site

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/portlease/portlease/allocator/kubelease"
	"github.com/portlease/portlease/allocator/ledger"
	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/elb"
)

// Ports are what every pod of a site requests.
var Ports = []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}

// HealthPort is where the agent of every pod would answer health checks.
const HealthPort = 9901

// Held is a pod that holds one bound port, with its claim as its agent would know it.
type Held struct {
	*Pod
	Claim api.Claim
}

// Fill grows the ledger to so many claims, each with one bound port. The pods and the
// bindings are invented; nobody asks for them while claims do not expire.
func (s *Site) Fill(ctx context.Context, claims int) error {
	pods := make([]*Pod, max(claims-s.filled, 0))
	for i := range pods {
		number := s.filled + i
		pods[i] = &Pod{Name: fmt.Sprintf("held-%d", number), UID: fmt.Sprintf("00000000-0000-4000-8000-%012d", number), IP: s.nextIP()}
	}
	_, err := s.hold(ctx, "held", pods, s.invent)
	return err
}

// Hold makes running pods hold bound ports, in the ledger and in AWS.
func (s *Site) Hold(ctx context.Context, pods []*Pod) ([]Held, error) {
	return s.hold(ctx, s.Games, pods, s.bind)
}

// Filled is how many claims Fill and Hold have written.
func (s *Site) Filled() int { return s.filled }

// binding gives the ARNs of the binding of a claim.
type binding func(ctx context.Context, c api.Claim) (group, listener string, err error)

// hold writes the claims of pods through the allocator's own tables, each with the next
// port of the load balancers.
func (s *Site) hold(ctx context.Context, namespace string, pods []*Pod, bind binding) ([]Held, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	leases := kubelease.Open(ctx, s.Objects, s.Namespace, slog.New(slog.DiscardHandler), kubelease.Hooks{})
	held, first := make([]Held, len(pods)), s.filled
	if err := Each(ctx, len(pods), func(ctx context.Context, i int) (err error) {
		held[i], err = s.holdOne(ctx, leases, first+i, namespace, pods[i], bind)
		return err
	}); err != nil {
		return nil, fmt.Errorf("filling the ledger: %w", err)
	}
	s.filled += len(pods)
	return held, nil
}

// holdOne writes the claim of a pod that holds the listener port of that number, and the
// port, as they are once the port is bound.
func (s *Site) holdOne(ctx context.Context, leases *kubelease.Leases, number int, namespace string, p *Pod, bind binding) (h Held, err error) {
	arn, listenerPort := s.LoadBalancerARNs[number/PortsEach], firstPort+number%PortsEach
	fence := api.Fence{Lease: ledger.PortName(ledger.LoadBalancerID(arn), listenerPort), Epoch: rand.Text()[:16], Generation: 1}
	check := api.HealthCheck{
		Protocol: "HTTP", Port: HealthPort, Path: api.HealthPath, IntervalSeconds: 10, TimeoutSeconds: 6, HealthyThreshold: 2, UnhealthyThreshold: 2,
	}
	h = Held{p, api.Claim{
		Ledger: s.Ledger, Namespace: namespace, Pod: p.Name, PodUID: p.UID, PodIP: p.IP, Pool: "default",
		LoadBalancer:    api.LoadBalancer{ARN: arn, Host: ledger.LoadBalancerID(arn) + ".elb.amazonaws.com", VPC: vpc},
		Ports:           []api.ClaimedPort{{Port: Ports[0], ListenerPort: listenerPort, Fence: fence, TargetGroupName: elb.TargetGroupName(s.Ledger, fence), HealthCheck: check}},
		DurationSeconds: s.ClaimDuration.Seconds(), RenewSeconds: s.RenewEvery.Seconds(),
	}}
	bound := &h.Claim.Ports[0]
	if bound.TargetGroupARN, bound.ListenerARN, err = bind(ctx, h.Claim); err != nil {
		return h, err
	}
	claim, err := leases.Claims().Create(ctx, ledger.ClaimName(p.UID), ledger.Claim{
		Namespace: namespace, Pod: p.Name, PodUID: p.UID, PodIP: p.IP, ConfirmedIP: p.IP,
		Pool: "default", State: ledger.Granted, Requested: Ports, HealthPort: HealthPort, LoadBalancer: h.Claim.LoadBalancer,
		Ports:   []ledger.PlannedPort{{ListenerPort: listenerPort, Fence: fence, Cooldown: s.Cooldown, HealthCheck: check}},
		Planned: true, Duration: s.ClaimDuration, RenewedAt: time.Now(),
	})
	if err != nil {
		return h, err
	}
	h.Claim.UID = claim.UID
	port := claim.Value.Holding(claim.Name, 0, time.Now())
	port.State, port.TargetGroupARN, port.ListenerARN = ledger.Bound, bound.TargetGroupARN, bound.ListenerARN
	_, err = leases.Ports().Create(ctx, fence.Lease, port)
	return h, err
}

// invent invents the ARNs of a binding.
func (s *Site) invent(_ context.Context, c api.Claim) (group, listener string, err error) {
	account, name, _ := strings.Cut(c.LoadBalancer.ARN, ":loadbalancer/")
	return fmt.Sprintf("%s:targetgroup/%s/%016x", account, c.Ports[0].TargetGroupName, mathrand.Uint64()),
		fmt.Sprintf("%s:listener/%s/%016x", account, name, mathrand.Uint64()), nil
}

// bind makes a binding as an agent does.
func (s *Site) bind(ctx context.Context, c api.Claim) (group, listener string, err error) {
	p := c.Ports[0]
	tags := elb.TagsOf(c, p.Fence)
	if group, err = s.elb.CreateTargetGroup(ctx, elb.TargetGroupSpec{
		Name: p.TargetGroupName, Protocol: p.Protocol, Port: p.TargetPort, VPC: c.LoadBalancer.VPC, HealthCheck: p.HealthCheck, Tags: tags,
	}); err != nil {
		return "", "", err
	}
	if err := s.elb.RegisterTarget(ctx, group, c.PodIP, p.TargetPort); err != nil {
		return "", "", err
	}
	listener, err = s.elb.CreateListener(ctx, elb.ListenerSpec{
		LoadBalancerARN: c.LoadBalancer.ARN, Port: p.ListenerPort, Protocol: p.Protocol, TargetGroupARN: group, Tags: tags,
	})
	return group, listener, err
}
