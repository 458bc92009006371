package benchagent

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portlease/portlease/e2e/rig"
	"github.com/portlease/portlease/shared/api"
)

// together is how many pods are created concurrently.
const together = 8

// bind creates the pods of the agents and waits until the load balancers find all of
// them healthy, so that the agents only hold.
func (b *bench) bind(ctx context.Context) error {
	b.Say("starting %d agents", b.agents)
	b.pods = make([]*rig.Pod, b.agents)
	group, making := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i := range b.pods {
		group.Go(func() (err error) {
			if b.pods[i], err = b.NewPod(making, fmt.Sprintf("agent-%d", i), "game=7777/UDP"); err != nil {
				return err
			}
			return b.pods[i].Start()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range b.pods {
		if err := p.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// callers are pods without a process.
type callers struct {
	bench    *bench
	renewed  atomic.Int64
	failed   atomic.Int64
	stop     context.CancelFunc
	finished sync.WaitGroup
}

// call makes the simulated callers claim, report an invented binding, and renew from
// then on.
func (b *bench) call(ctx context.Context) (*callers, error) {
	b.Say("making %d simulated callers", b.callers)
	renewing, stop := context.WithCancel(ctx)
	c := &callers{bench: b, stop: stop}
	group, making := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i := range b.callers {
		group.Go(func() error {
			one := caller{callers: c, name: fmt.Sprintf("caller-%d", i)}
			if err := one.begin(making); err != nil {
				return fmt.Errorf("simulating pod %s: %w", one.name, err)
			}
			c.finished.Go(func() { one.hold(renewing) })
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		stop()
		return nil, err
	}
	return c, nil
}

type caller struct {
	*callers
	name, token string
	pod         *rig.Pod
	claim       api.Claim
	http        *http.Client
}

func (c *caller) begin(ctx context.Context) (err error) {
	if c.pod, err = c.bench.NewPod(ctx, c.name, "game=7777/UDP"); err != nil {
		return err
	}
	c.http = c.pod.KeepingHTTP()
	if c.token, err = c.bench.Token(ctx, c.name); err != nil {
		return err
	}
	if err = c.send(ctx, http.MethodPut, "", api.ClaimRequest{
		PodUID: c.pod.UID, PodIP: c.pod.IP, Pool: "default", Ports: []api.Port{{Name: "game", TargetPort: 7777, Protocol: api.UDP}}, HealthPort: 9901,
	}, &c.claim); err != nil {
		return err
	}
	p := &c.claim.Ports[0]
	part := strings.TrimPrefix(c.claim.LoadBalancer.ARN[strings.Index(c.claim.LoadBalancer.ARN, ":loadbalancer/"):], ":loadbalancer/")
	account := strings.TrimSuffix(c.claim.LoadBalancer.ARN, ":loadbalancer/"+part)
	p.TargetGroupARN = fmt.Sprintf("%s:targetgroup/%s/%016x", account, p.TargetGroupName, rand.Uint64())
	p.ListenerARN = fmt.Sprintf("%s:listener/%s/%016x", account, part, rand.Uint64())
	if err = c.send(ctx, http.MethodPost, api.CallTargetGroup, api.TargetGroupRequest{ClaimUID: c.claim.UID, Fence: p.Fence, TargetGroupARN: p.TargetGroupARN}, nil); err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, api.CallBound, api.BoundRequest{ClaimUID: c.claim.UID, Fence: p.Fence, ListenerARN: p.ListenerARN}, nil)
}

// hold renews at the claim's interval, with the jitter that agents use.
func (c *caller) hold(ctx context.Context) {
	every := time.Duration(c.claim.RenewSeconds * float64(time.Second))
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(every))))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := c.send(ctx, http.MethodPost, api.CallRenew, api.RenewRequest{ClaimUID: c.claim.UID, PodIP: c.pod.IP, Pool: "default", Ports: c.claim.Ports}, nil)
		if c.renewed.Add(1); err != nil && ctx.Err() == nil {
			c.failed.Add(1)
		}
		timer.Reset(every*9/10 + time.Duration(rand.Int64N(int64(every/5))))
	}
}

func (c *caller) send(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	status, got, err := c.pod.CallBy(ctx, c.http, c.bench.Replicas[0], method, path, c.token, string(text))
	if err != nil {
		return err
	}
	if status < 200 || status > 299 {
		return fmt.Errorf("%s %s answered %d: %s", method, path, status, got)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal([]byte(got), answer)
}
