package alternatives

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/portlease/portlease/e2e/load/scenario"
)

// operatorThreads are what it has at its best: it takes one pod after the other, so that no
// two choose the same port.
const operatorThreads = 1

// What the predecessor's operator waits for.
const (
	operatorRetry = 30 * time.Second
	afterGroup    = time.Second
	afterListener = 2 * time.Second
)

// operator does what the operator before portlease did: for each new pod it lists the
// listeners of its one load balancer, takes the lowest free port, and makes target group,
// target and listener. After any failure it starts over 30 s later. It deletes a listener
// and, 2 s later, its target group, and does not repeat what fails.
type operator struct{ fleet }

// Operator is the predecessor's algorithm.
func Operator() Alternative {
	return Alternative{
		Name: "predecessor's operator", Settings: "1 thread, which is its best; boto3's legacy retries, one load balancer whose quota of listeners was raised",
		oneLoadBalancer: true,
		run:             func(f fleet) runner { return &operator{f} },
	}
}

// client has boto3's legacy retries: 5 attempts, with random pauses that double.
func (o *operator) client() *elbv2.Client {
	return o.account.client(retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts, r.RateLimiter = 5, ratelimit.None
		r.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return time.Duration(rand.Float64() * math.Pow(2, float64(attempt-1)) * float64(time.Second)), nil
		})
	}))
}

// start implements runner.
func (o *operator) start(ctx context.Context) {
	client, threads := o.client(), make(chan struct{}, operatorThreads)
	o.each(func(p *pod) {
		for ctx.Err() == nil {
			threads <- struct{}{}
			err := o.create(ctx, client, p)
			<-threads
			if err == nil {
				o.bound(p)
				return
			}
			scenario.Wait(ctx, operatorRetry)
		}
	})
}

func (o *operator) create(ctx context.Context, client *elbv2.Client, p *pod) error {
	p.loadBalancer = o.account.loadBalancers[0]
	listed, err := client.DescribeListeners(ctx, &elbv2.DescribeListenersInput{LoadBalancerArn: &p.loadBalancer})
	if err != nil {
		return err
	}
	used := make(map[int]bool)
	for _, l := range listed.Listeners {
		used[int(aws.ToInt32(l.Port))] = true
	}
	p.listenerPort = firstPort
	for used[p.listenerPort] {
		p.listenerPort++
	}
	p.targetGroup = "" // it remembers nothing, but finds the group by its name
	sum := md5.Sum(fmt.Appendf(nil, "games-game-%d-udp", p.number))
	if err := p.createTargetGroup(ctx, client, "tg-games-game-"+hex.EncodeToString(sum[:4])); err != nil {
		return err
	}
	scenario.Wait(ctx, afterGroup)
	if err := p.register(ctx, client); err != nil {
		return err
	}
	return p.createListener(ctx, client)
}

// stop implements runner.
func (o *operator) stop(ctx context.Context) {
	client, threads := o.client(), make(chan struct{}, operatorThreads)
	o.each(func(p *pod) {
		threads <- struct{}{}
		defer func() { <-threads }()
		if p.listener == "" {
			return
		}
		// It logs errors and goes on.
		_ = p.deleteListener(ctx, client)
		scenario.Wait(ctx, afterListener)
		_ = p.deleteTargetGroup(ctx, client)
	})
}
