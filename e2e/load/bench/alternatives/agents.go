package alternatives

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/portlease/portlease/agent/backoff"
	"github.com/portlease/portlease/e2e/load/scenario"
)

// grace is the default termination grace period of Kubernetes. A program in a pod is
// killed after it.
const grace = 30 * time.Second

// agents are programs in the pods that retry on their own, with the pauses of portlease's
// agent and without its budget.
type agents struct {
	fleet
	// retryer makes the SDK's way to retry; each agent has its own.
	retryer func() aws.Retryer
}

// Standard are agents with the SDK's standard retries.
func Standard() Alternative {
	return Alternative{
		Name: "agents, SDK standard", Settings: "3 attempts a call, then pauses of 1 to 15 s",
		run: func(f fleet) runner { return &agents{f, func() aws.Retryer { return retry.NewStandard() }} },
	}
}

// Adaptive are agents with the SDK's adaptive retries.
func Adaptive() Alternative {
	return Alternative{
		Name: "agents, SDK adaptive", Settings: "3 attempts a call at the SDK's adaptive rate, then pauses of 1 to 15 s",
		run: func(f fleet) runner { return &agents{f, func() aws.Retryer { return retry.NewAdaptiveMode() }} },
	}
}

// start implements runner.
func (a *agents) start(ctx context.Context) {
	a.each(func(p *pod) {
		if a.persist(ctx, func(client *elbv2.Client) error { return p.create(ctx, client) }) {
			a.bound(p)
		}
	})
}

// stop implements runner.
func (a *agents) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	a.each(func(p *pod) {
		a.persist(ctx, func(client *elbv2.Client) error { return p.delete(ctx, client) })
	})
}

// persist tries with an agent's own client until it succeeds or ctx ends.
func (a *agents) persist(ctx context.Context, try func(*elbv2.Client) error) bool {
	client := a.account.client(a.retryer())
	var pause backoff.Backoff
	for ctx.Err() == nil {
		err := try(client)
		if err == nil {
			return true
		}
		scenario.Wait(ctx, pause.Next(err, rand.Float64))
	}
	return false
}
