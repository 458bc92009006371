package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/portlease/portlease/deploy/tests/policies"
	"github.com/portlease/portlease/e2e/elbemu"
	"github.com/portlease/portlease/e2e/load/scenario"
	"github.com/portlease/portlease/e2e/rig"
)

// These times are shorter than in production, so that a run takes minutes.
const (
	claimDuration = 4 * time.Second
	renewEvery    = time.Second
	cooldown      = time.Second
	sticky        = time.Second
	agentGrace    = 3 * time.Second
	sweepEvery    = 200 * time.Millisecond
	auditEvery    = time.Second
	// longCooldown is that of the pools that only attackers use.
	longCooldown = 10 * time.Minute
)

const (
	replicas = 2
	// openLoadBalancers are in the pool that honest pods use. One more is in the pools
	// aside and closed.
	openLoadBalancers = 4
	firstPort         = 30000
	portsEach         = 50
	// firstClosedPort divides the last load balancer between the pools aside and closed.
	firstClosedPort = firstPort + portsEach/2
)

// The pools. Honest pods use poolOpen.
const (
	poolOpen = "default"
	// poolAside is open to the attackers' namespace and has a long cooldown.
	poolAside = "aside"
	// poolClosed is open to another namespace only.
	poolClosed = "closed"
)

// world is one installation and its neighbors.
type world struct {
	config
	*scenario.Stage
	*rig.Rig
	// kube counts the replicas' requests to the API server.
	kube *requests
	// named counts the pods that were created, to name them.
	named int
	// attackers are the pods of the present round that are not honest.
	attackers []*rig.Pod
	// quiet is the latest run without an attack.
	quiet measure
}

func newWorld(ctx context.Context, stage *scenario.Stage, c config) (*world, error) {
	w := &world{config: c, Stage: stage, kube: newRequests()}
	published := elbemu.PublishedBuckets()
	for _, b := range []*elbemu.Bucket{&published.Account, &published.Mutating, &published.Registration, &published.NonMutating, &published.ResourceIntensive} {
		b.PerSecond *= speed
	}
	limit := func(b elbemu.Bucket) string {
		return fmt.Sprintf("{burst: %v, perSecond: %v}", b.Capacity, b.PerSecond)
	}
	w.Say("starting %d emulated load balancers and %d allocators", openLoadBalancers+1, replicas)
	var err error
	w.Rig, err = rig.New(ctx, rig.Config{
		Kube: w.Kube, Replicas: replicas, AgentsInProcess: true, DataPlane: true, AgentPolicy: policies.AgentPodIdentity,
		LoadBalancers: openLoadBalancers + 1, Alone: true, ListenerPorts: fmt.Sprintf("%d-%d", firstPort, firstPort+portsEach-1),
		ClaimDuration: claimDuration, RenewEvery: renewEvery, Cooldown: cooldown, Sticky: sticky,
		AgentGrace: agentGrace, SweepEvery: sweepEvery, AuditEvery: auditEvery,
		Budget: fmt.Sprintf("budget:\n  mutating: %s\n  registration: %s\n  all: %s\n",
			limit(published.Mutating), limit(published.Registration), limit(published.Account)),
		Emulator: func(e *elbemu.Config) {
			e.Buckets = &published
			e.Delays = &elbemu.Delays{TargetGroupLag: groupLag} // the replicas are told so
		},
		KubeDoor: w.kube.door, LogLevel: "info", Output: stage.Out, Progress: stage.Progress,
	})
	if err != nil {
		return nil, err
	}
	w.Emulator.SetTargetGroupLag(0) // until a round with lag
	if err := w.dividePools(ctx); err != nil {
		return nil, errors.Join(err, w.Abandon(ctx))
	}
	return w, nil
}

// dividePools puts the last load balancer into pools of its own.
func (w *world) dividePools(ctx context.Context) error {
	last := w.asideARN()
	var text strings.Builder
	text.WriteString(w.PoolText(w.LoadBalancerARNs[:openLoadBalancers], ""))
	for _, p := range []struct {
		name, namespace string
		first, last     int
	}{
		{poolAside, w.Games, firstPort, firstClosedPort - 1},
		{poolClosed, "somebody-else", firstClosedPort, firstPort + portsEach - 1},
	} {
		fmt.Fprintf(&text, "- name: %s\n  loadBalancers: [%s]\n  listenerPorts: [\"%d-%d\"]\n  namespaces: [%s]\n  cooldown: %v\n",
			p.name, last, p.first, p.last, p.namespace, longCooldown)
	}
	if err := w.SetPools(text.String()); err != nil {
		return err
	}
	admin, err := w.AdminToken(ctx)
	if err != nil {
		return err
	}
	for _, a := range w.Replicas {
		if err := rig.Eventually(ctx, a.Name()+" to read the pool file", func() error {
			body, err := w.Get(ctx, a.URL()+"/v1/pools", admin)
			if err == nil && !strings.Contains(body, poolClosed) {
				err = errors.New(body)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// asideARN is the load balancer that honest pods do not use.
func (w *world) asideARN() string { return w.LoadBalancerARNs[openLoadBalancers] }

func (w *world) close(ctx context.Context) error {
	var err error
	if w.logs != "" {
		err = errors.Join(os.MkdirAll(w.logs, 0o750), w.KeepLogs(w.logs))
	}
	return errors.Join(err, w.Abandon(ctx))
}

// restLimit is how long it may take until nothing is left of a round.
const restLimit = 150 * time.Second

// waitAtRest waits until no claim is left, AWS has nothing of this installation, and the
// mutating bucket no longer fills, at full speed. So every round begins alike.
func (w *world) waitAtRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	before := -1.
	err := scenario.Poll(ctx, 200*time.Millisecond, func() error {
		claims, _, err := w.Leases(ctx)
		if err != nil {
			return err
		}
		if len(claims) > 0 {
			return fmt.Errorf("%d claims are left, the first of %s", len(claims), claims[0].Value.Pod)
		}
		if err := w.CheckAtRest(ctx); err != nil {
			return err
		}
		if speed, err := w.LeaderMetric(ctx, budgetSpeed); err != nil || speed < stillFast {
			return errors.Join(err, fmt.Errorf("calls to AWS are at %.2f of their speed", speed))
		}
		tokens, err := w.LeaderMetric(ctx, `portlease_aws_budget_tokens{bucket="mutating"}`)
		if err == nil && tokens != before {
			err = fmt.Errorf("the mutating bucket has %.1f tokens and fills", tokens)
		}
		before = tokens
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for the previous round to leave nothing: %w", err)
	}
	return nil
}
